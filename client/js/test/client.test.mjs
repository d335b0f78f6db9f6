// One tab: what its client does with tokens, requests and errors.

import assert from "node:assert/strict";
import test from "node:test";

import { age, api, away, begin, isRefresh, spoil, succeed } from "./help.mjs";
import { Browser, Proxy, john, sleep, until } from "./world.mjs";

test("a login, a profile, a logout", async (t) => {
  const { client, browser, proxy, tabs } = await begin(t, { signedIn: false });
  assert.equal(client.signedIn, false);
  assert.equal(client.tokens, undefined);
  assert.equal(await client.accessToken(), undefined);
  assert.equal(await client.refresh(), false);
  assert.equal(proxy.seen.length, 0);
  const { login, profile, logout } = client; // the functions need no `this`
  await login(...john);
  assert.equal(client.signedIn, true);
  assert.equal((await profile()).email, "john@mail.com");
  assert.equal(await client.accessToken(), client.tokens.accessToken);
  const left = client.tokens.expiresAt - Date.now();
  assert.ok(left > 590_000 && left <= 600_000, String(left));
  const { refreshToken } = client.tokens;
  await logout();
  assert.equal(client.signedIn, false);
  assert.equal(browser.items.size, 0);
  assert.deepEqual(tabs[0].signedOut, [undefined]);
  assert.equal(proxy.seen.at(-1).status, 204);
  const again = await fetch(proxy.url + "/refresh-token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refreshToken }),
  });
  assert.equal(again.status, 401, "the session lives after the logout");
  assert.equal((await client.fetch(api(proxy))).status, 401, "a request that nobody is signed in for");
  await assert.rejects(client.profile(), { name: "SignetError", status: 401, code: "missing_token" });
});

test("errors say what the server says", async (t) => {
  const { client, proxy, tabs } = await begin(t, { signedIn: false });
  const wrong = await client.login("john@mail.com", "wrong").catch((error) => error);
  assert.ok(wrong instanceof tabs[0].module.SignetError);
  assert.deepEqual([wrong.status, wrong.code], [401, "invalid_credentials"]);
  assert.match(wrong.message, /password is wrong/);
  proxy.rule = () => ({ status: 429, headers: { "Retry-After": "7" }, body: '{"code":"too_many_attempts","message":"slowly"}' });
  await assert.rejects(client.login(...john), { status: 429, code: "too_many_attempts", message: "slowly", retryAfter: 7 });
  proxy.rule = () => ({ status: 503, headers: { "Retry-After": new Date(Date.now() + 60_000).toUTCString() }, body: "<html>" });
  const { retryAfter, code } = await client.login(...john).catch((error) => error);
  assert.equal(code, "http_503");
  assert.ok(retryAfter > 50 && retryAfter <= 60, String(retryAfter));
  proxy.rule = () => "refuse";
  await assert.rejects(client.login(...john), { status: 0, code: "network_error" });
  proxy.rule = () => sleep(5000);
  await assert.rejects(client.login(...john, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  proxy.rule = () => ({ status: 201, body: "<html>a portal of a hotel</html>" });
  await assert.rejects(client.login(...john), { status: 0, code: "bad_answer" });
  assert.equal(client.signedIn, false);
  const { createClient } = tabs[0].module;
  assert.throws(() => createClient({ baseURL: proxy.url, mode: "basic" }), { name: "TypeError" });
  assert.throws(() => createClient({ baseURL: "app://shop/auth" }), { message: /http or https/ });
  assert.throws(() => createClient({ baseURL: proxy.url, origins: ["api.shop.example"] }), { code: "ERR_INVALID_URL" });
  createClient({ baseURL: "/auth/?query#fragment" }).close(); // relative to the page, in a browser
});

test("a second step takes the ticket of the error", async (t) => {
  const { client, proxy } = await begin(t, { signedIn: false });
  const { code, ticket } = await client.login("otto@mail.com", "changeme", { remember: true }).catch((error) => error);
  assert.equal(code, "second_step_required");
  assert.deepEqual(JSON.parse(proxy.seen[0].body), { email: "otto@mail.com", password: "changeme", remember: true });
  await assert.rejects(client.secondStep(ticket, "000000"), { status: 401 });
  assert.equal(client.signedIn, false);
  await client.secondStep(ticket, "123456");
  assert.equal((await client.profile()).email, "otto@mail.com");
});

test("stepping up", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  await assert.rejects(client.stepUp("wrong"), { status: 401, code: "invalid_credentials" });
  const recent = () => client.fetch(proxy.origin + "/api/recent", { method: "POST", body: "x" });
  let refused; // the route wants a proof of the last five seconds
  await until(async () => (await sleep(200), (refused = await recent()).status === 401));
  assert.match(refused.headers.get("WWW-Authenticate"), /insufficient_user_authentication/);
  assert.equal(proxy.count("/refresh-token"), 0, "a new token would not help");
  age(browser, 1000);
  await client.stepUp("changeme");
  await succeed(recent());
  assert.equal(proxy.count("/refresh-token"), 1);
  assert.deepEqual(tabs[0].signedOut, []);
  await client.logout();
  await assert.rejects(client.stepUp("changeme"), { name: "SignetError" });
});

test("stepping up after a lost answer", async (t) => {
  const { client, proxy, tabs } = await begin(t);
  let lost = 1;
  proxy.rule = ({ path }) => (path.endsWith("/step-up") && lost-- > 0 ? "lose" : undefined);
  await assert.rejects(client.stepUp("changeme"), { status: 0 });
  await client.stepUp("changeme"); // the tokens are not the newest ones any more
  await succeed(client.fetch(proxy.origin + "/api/recent"));
  assert.equal(proxy.count("/refresh-token"), 1);
  await fetch(proxy.url + "/logout", { method: "POST", headers: { Authorization: "Bearer " + client.tokens.accessToken } });
  await assert.rejects(client.stepUp("changeme"), { status: 401, code: "invalid_token" });
  assert.equal(client.signedIn, false);
  assert.equal(tabs[0].signedOut.length, 1);
});

test("an answer that is garbage does not replace good tokens", async (t) => {
  const { client, proxy, browser } = await begin(t, { client: { patience: 0.3 } });
  const before = browser.state.refreshToken;
  for (const body of ['{"access_token":true,"refresh_token":true}', '{"access_token":{"a":1},"refresh_token":["b"],"expires_in":"soon"}', "7", "null"]) {
    proxy.rule = (request) => (isRefresh(request) ? { status: 201, body } : undefined);
    await assert.rejects(client.refresh(), { name: "SignetError", code: "bad_answer" }, body);
    assert.equal(browser.state.refreshToken, before);
  }
  proxy.rule = () => ({ status: 401, body: '{"message":{"toString":1,"valueOf":2},"code":null}' });
  await assert.rejects(client.login(...john), { name: "SignetError", code: "http_401" });
  proxy.rule = () => {};
  await succeed(client.fetch(api(proxy)));
});

test("a step-up that hangs holds other tabs up for as long as any other request", async (t) => {
  const { client, proxy, tabs } = await begin(t);
  tabs[0].global.AbortSignal = { timeout: (ms) => AbortSignal.timeout(ms / 50) };
  proxy.rule = ({ path }) => path.endsWith("/step-up") && new Promise(() => {});
  await assert.rejects(client.stepUp("changeme", { signal: new AbortController().signal }), { name: "SignetError", status: 0 });
  const stop = new AbortController();
  const stepped = assert.rejects(client.stepUp("changeme", { signal: stop.signal }), { name: "AbortError" });
  stop.abort();
  await stepped;
});

test("a ticket opens a connection once", async (t) => {
  const { client, proxy, browser } = await begin(t);
  spoil(browser);
  const ticket = await client.ticket();
  const open = () => fetch(proxy.origin + "/api/events?ticket=" + ticket);
  assert.equal((await open()).status, 200);
  assert.equal((await open()).status, 401);
  await client.logout();
  await assert.rejects(client.ticket(), { status: 401 });
});

test("only the origins of the API get the token", async (t) => {
  const other = await Proxy.start();
  const third = await Proxy.start();
  t.after(() => (other.close(), third.close()));
  const { client, proxy } = await begin(t, { client: { origins: [third.url] } });
  await succeed(client.fetch(api(proxy)), client.fetch(new URL(api(third))), client.fetch(new Request(api(third))));
  assert.equal((await client.fetch(api(other))).status, 401);
  assert.equal(other.seen[0].headers.authorization, undefined);
  const own = await client.fetch(api(proxy), { headers: { Authorization: "Bearer x" } });
  assert.equal(own.status, 401, "a request with a token of its own is sent as it is");
  assert.equal(proxy.count("/refresh-token"), 0);
});

test("five parallel answers 401 make one refresh, and every request is repeated with its body", async (t) => {
  const { client, proxy, browser } = await begin(t);
  spoil(browser);
  const form = new FormData();
  form.set("field", "form");
  const post = (body) => client.fetch(api(proxy), { method: "POST", body });
  const answers = await Promise.all([
    post("text"),
    post(new URLSearchParams({ a: "1" })),
    post(new Blob(["blob"])),
    post(form),
    client.fetch(new Request(api(proxy), { method: "PUT", body: "request" })),
  ]);
  const echoed = await Promise.all(answers.map((answer) => answer.json()));
  assert.deepEqual(
    echoed.map(({ method, body }) => [method, body.includes("form-data") ? "form" : body]),
    [["POST", "text"], ["POST", "a=1"], ["POST", "blob"], ["POST", "form"], ["PUT", "request"]],
  );
  assert.equal(proxy.count("/refresh-token"), 1);
  assert.equal(proxy.count("/echo"), 10);
  await succeed(client.fetch(api(proxy)));
  assert.equal(proxy.count("/echo"), 11);
});

test("an answer 401 that comes late does not make a second refresh", async (t) => {
  const { client, proxy, browser } = await begin(t);
  spoil(browser);
  proxy.rule = ({ path, headers }) => path.endsWith("?slow") && headers.authorization.includes("spoiled") && sleep(300);
  await succeed(client.fetch(api(proxy) + "?slow"), client.fetch(api(proxy)));
  assert.equal(proxy.count("/refresh-token"), 1);
});

test("a request is repeated once", async (t) => {
  const { client, proxy } = await begin(t);
  proxy.rule = ({ path }) => path.endsWith("/echo") && { status: 401, body: "never" };
  const answer = await client.fetch(api(proxy));
  assert.deepEqual([answer.status, await answer.text()], [401, "never"]);
  assert.deepEqual([proxy.count("/echo"), proxy.count("/refresh-token")], [2, 1]);
  assert.equal(client.signedIn, true, "only the server's refusal of the refresh token signs out");
});

test("a stream is not repeated: its 401 is returned, and the next request has a new token", async (t) => {
  const { client, proxy, browser } = await begin(t);
  spoil(browser);
  const stream = () => new Blob(["a stream"]).stream();
  const first = await client.fetch(api(proxy), { method: "POST", body: stream(), duplex: "half" });
  assert.equal(first.status, 401);
  const second = await client.fetch(api(proxy), { method: "POST", body: stream(), duplex: "half" });
  assert.equal((await second.json()).body, "a stream");
  assert.equal(proxy.count("/echo"), 2);
});

test("an expired token is renewed before the request, an old one beside it", async (t) => {
  const { client, proxy, browser } = await begin(t);
  age(browser, 597); // of 600 seconds
  await succeed(client.fetch(api(proxy)));
  assert.deepEqual(proxy.seen.map(({ path }) => path.split("/").pop()), ["login", "refresh-token", "echo"]);
  age(browser, 550);
  const before = client.tokens.accessToken;
  let blocked = true;
  proxy.rule = async (request) => {
    if (isRefresh(request)) await until(() => !blocked);
  };
  await succeed(client.fetch(api(proxy)), client.fetch(api(proxy)));
  assert.equal(client.tokens.accessToken, before, "the request does not wait for the renewal");
  blocked = false;
  await until(() => client.tokens.accessToken !== before);
  assert.equal(proxy.count("/refresh-token"), 2);
});

test("a session is kept alive: half of the refresh token's life is a reason to renew", async (t) => {
  const { client, proxy, browser } = await begin(t);
  browser.change({ life: 1_728_000 }); // an access token of 20 days and a refresh token of 10 hours, as in the contract
  age(browser, 4 * 3600);
  await client.accessToken();
  assert.equal(proxy.count("/refresh-token"), 0);
  age(browser, 2 * 3600);
  await client.accessToken();
  await until(() => proxy.count("/refresh-token") === 1);
  await until(() => Date.now() - browser.state.at < 5000);
  browser.change({ life: 1_728_000 });
  age(browser, 11 * 3600); // the refresh token has expired; the access token still works
  await client.accessToken();
  await sleep(50);
  assert.equal(proxy.count("/refresh-token"), 1);
  assert.equal(browser.state.idle, 36_000);
});

test("a renewal waits as long as the server says, and a caller need not", async (t) => {
  const { client, proxy, browser } = await begin(t);
  let refusals = 2;
  proxy.rule = (request) => isRefresh(request) && refusals-- > 0 && away(1);
  spoil(browser);
  const begun = performance.now();
  const impatient = client.fetch(api(proxy), { signal: AbortSignal.timeout(200) });
  const order = [];
  const patient = client.fetch(api(proxy)).finally(() => order.push("patient"));
  await assert.rejects(impatient.finally(() => order.push("impatient")), { name: "TimeoutError" });
  await succeed(patient);
  assert.deepEqual(order, ["impatient", "patient"]);
  assert.ok(performance.now() - begun >= 2000);
  assert.equal(proxy.count("/refresh-token"), 3);
  assert.equal(new Set(proxy.seen.filter(isRefresh).map(({ body }) => body)).size, 1, "the same refresh token each time");
  await assert.rejects(client.fetch(api(proxy), { signal: AbortSignal.abort() }), { name: "AbortError" });
});

test("a server that stays away does not sign anyone out", async (t) => {
  const { client, proxy, browser, tabs } = await begin(t, { client: { patience: 0.5 } });
  spoil(browser);
  const answers = [
    [() => away(60), { status: 503, code: "temporarily_unavailable", retryAfter: 60 }],
    [() => away(), { status: 503 }],
    [() => ({ status: 429, headers: { "Retry-After": "60" } }), { status: 429, code: "http_429" }],
    [() => ({ status: 500 }), { status: 500 }],
    [() => ({ status: 403, body: "a firewall" }), { status: 403 }],
    [() => ({ status: 400, body: '{"code":"invalid_request"}' }), { status: 400, code: "invalid_request" }],
    [() => ({ status: 404 }), { status: 404 }],
    [() => ({ status: 200, body: "<html>sign in to the hotel's network</html>" }), { status: 0, code: "bad_answer" }],
    [() => ({ status: 200, body: "{}" }), { status: 0, code: "bad_answer" }],
    [() => "refuse", { status: 0, code: "network_error" }],
  ];
  for (const [rule, error] of answers) {
    proxy.rule = (request) => isRefresh(request) && rule();
    await assert.rejects(client.fetch(api(proxy)), { name: "SignetError", ...error });
    assert.equal(client.signedIn, true);
  }
  assert.deepEqual(tabs[0].signedOut, []);
  proxy.rule = () => {};
  await succeed(client.fetch(api(proxy)));
});

test("the event online ends the wait for the network", async (t) => {
  const { client, proxy, browser, tabs } = await begin(t);
  spoil(browser);
  tabs[0].global.setTimeout = (done, ms) => ms < 1600 && setTimeout(done, ms); // after five attempts the pauses do not end
  let offline = true;
  proxy.rule = (request) => (isRefresh(request) && offline ? "refuse" : undefined);
  const answer = client.fetch(api(proxy));
  await until(() => proxy.count("/refresh-token") === 5);
  offline = false;
  await sleep(50);
  tabs[0].dispatch("online");
  await succeed(answer);
});

for (const [what, skew] of [["a day ahead", 86_400_000], ["a day behind", -86_400_000]]) {
  test("the device's clock is " + what, async (t) => {
    const { client, proxy, tabs } = await begin(t, { signedIn: false });
    tabs[0].skew = skew;
    await client.login(...john);
    await succeed(client.fetch(api(proxy)), client.fetch(api(proxy)));
    assert.equal(proxy.count("/refresh-token"), 0);
    tabs[0].skew = 0; // it is set right
    await succeed(client.fetch(api(proxy)));
    assert.equal(proxy.count("/refresh-token"), 1);
    await succeed(client.fetch(api(proxy)));
    assert.equal(proxy.count("/refresh-token"), 1);
  });
}

test("a tab that has slept for a day looks at the clock, not at timers", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  tabs[0].skew = 86_400_000;
  spoil(browser);
  tabs[0].dispatch("visibilitychange");
  await until(() => proxy.count("/refresh-token") === 1);
  await until(() => browser.state.accessToken !== "spoiled");
  await succeed(client.fetch(api(proxy)));
  tabs[0].document.visibilityState = "hidden";
  tabs[0].skew *= 2;
  tabs[0].dispatch("visibilitychange");
  await sleep(50);
  assert.equal(proxy.count("/refresh-token"), 1, "a hidden page does nothing");
  await succeed(client.fetch(api(proxy)));
  assert.deepEqual([proxy.count("/refresh-token"), proxy.seen.at(-1).status], [2, 200]);
});

test("a refused refresh token signs out, with the server's reason", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  await fetch(proxy.url + "/logout", { method: "POST", headers: { Authorization: "Bearer " + client.tokens.accessToken } });
  spoil(browser);
  const [first, second] = await Promise.all([client.fetch(api(proxy)), client.fetch(api(proxy))]);
  assert.deepEqual([first.status, second.status], [401, 401]);
  assert.equal(client.signedIn, false);
  assert.equal(tabs[0].signedOut.length, 1);
  assert.deepEqual([tabs[0].signedOut[0].status, tabs[0].signedOut[0].code], [401, "invalid_token"]);
  assert.equal(tabs[0].changes, 2, "a login and the end");
});

test("an answer that never comes is a lost answer", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  tabs[0].global.AbortSignal = { timeout: (ms) => AbortSignal.timeout(ms / 20) };
  spoil(browser);
  let silent = 2;
  proxy.rule = (request) => isRefresh(request) && silent-- > 0 && new Promise(() => {});
  await succeed(client.fetch(api(proxy)));
  assert.equal(proxy.count("/refresh-token"), 3);
  proxy.rule = () => new Promise(() => {});
  await assert.rejects(client.stepUp("changeme"), { name: "SignetError", status: 0 });
});

test("a logout without the server: the tokens are gone from the device, and the caller is told", async (t) => {
  const { client, proxy, browser } = await begin(t, { client: { patience: 0.3 } });
  proxy.rule = () => "refuse";
  await assert.rejects(client.logout(), { status: 0 });
  assert.equal(client.signedIn, false);
  assert.equal(browser.items.size, 0);
  proxy.rule = () => {};
  await client.logout(); // nobody is signed in: nothing to do
  await client.login(...john);
  const { refreshToken } = client.tokens;
  let refusals = 1;
  proxy.rule = () => (refusals-- > 0 ? away(0) : undefined);
  await client.logout();
  assert.equal(proxy.seen.at(-1).status, 204);
  assert.deepEqual(JSON.parse(proxy.seen.at(-1).body), { refreshToken });
});

test("a logout does not end the login that follows it", async (t) => {
  const { client, proxy } = await begin(t);
  let refusals = 1;
  proxy.rule = ({ path }) => path.endsWith("/logout") && refusals-- > 0 && away(0.3);
  const logout = client.logout();
  await client.login(...john);
  await logout;
  assert.equal(client.signedIn, true);
  await succeed(client.fetch(api(proxy)));
});

test("signing out everywhere ends the sessions of other devices", async (t) => {
  const { client, proxy, browser } = await begin(t);
  const { client: elsewhere, proxy: other, tabs } = await begin(t);
  spoil(browser);
  await client.logoutAll();
  assert.equal(client.signedIn, false);
  await until(async () => (await elsewhere.fetch(api(other))).status === 401);
  assert.equal(elsewhere.signedIn, false);
  assert.equal(tabs[0].signedOut.length, 1);
  const { client: brief, proxy: broken } = await begin(t, { client: { patience: 0.1 } });
  broken.rule = () => ({ status: 500 });
  await assert.rejects(brief.logoutAll(), { status: 500 });
  assert.equal(brief.signedIn, true);
  assert.equal(proxy.count("/logout-all"), 2, "the first had a spoiled token");
});

test("signing out everywhere is not repeated as another user", async (t) => {
  const { clients, proxy } = await begin(t, { tabs: 2 });
  proxy.rule = (request) => (request.path.endsWith("/logout-all") ? away(1) : undefined);
  const refused = assert.rejects(clients[0].logoutAll(), { status: 409, code: "user_changed" });
  await until(() => proxy.count("/logout-all") === 1);
  proxy.rule = () => {};
  await clients[1].login("maria@mail.com", "12345");
  await refused;
  await succeed(clients[1].fetch(api(proxy)));
  assert.equal(proxy.count("/logout-all"), 1);
});

for (const mode of ["bearer", "cookie"]) {
  for (const [what, old] of [["a good token", 0], ["an old token", 1000]]) {
    test(`signing out everywhere with ${what} of a session that has ended: ${mode}`, async (t) => {
      const cookies = mode === "cookie" ? { server: process.env.SIGNET_COOKIE_URL, tab: { cookies: true } } : {};
      const { client, proxy, browser } = await begin(t, { ...cookies, client: { mode } });
      const other = await begin(t, { ...cookies, client: { mode } }); // another device
      const { sessions } = await (await client.fetch(proxy.url + "/sessions")).json();
      const { id } = sessions.find(({ current }) => current);
      await succeed(other.client.fetch(other.proxy.url + "/sessions/" + id, { method: "DELETE" }).then(({ status }) => new Response("", { status: status === 204 ? 200 : status })));
      if (old) age(browser, old);
      await assert.rejects(client.logoutAll(), { status: 401 }, "the other devices are still signed in");
      assert.equal(client.signedIn, false);
      await assert.rejects(client.logoutAll(), { status: 401 }, "and so they are the second time");
      await succeed(other.client.fetch(api(other.proxy)));
    });
  }
}

test("every failure is a SignetError", async (t) => {
  const { client, proxy, tabs } = await begin(t, { client: { patience: 0.2 } });
  const { SignetError } = tabs[0].module;
  const page = { status: 200, headers: { "Content-Type": "text/html" }, body: "<!doctype html>" };
  for (const [rule, wanted] of [["refuse", "network_error"], [page, "bad_answer"]]) {
    proxy.rule = ({ path }) => (path.endsWith("/refresh-token") ? undefined : rule);
    for (const call of [client.profile, client.ticket, () => client.login(...john), () => client.stepUp("changeme")]) {
      await assert.rejects(call(), (error) => error instanceof SignetError && error.code === wanted, call.name);
    }
  }
  proxy.rule = ({ path }) => (path.endsWith("/logout-all") || path.endsWith("/logout") ? page : undefined);
  await assert.rejects(client.logoutAll(), { code: "bad_answer" });
  assert.equal(client.signedIn, true);
  await assert.rejects(client.logout(), { code: "bad_answer" });
  await assert.rejects(client.profile({ signal: AbortSignal.abort(new Error("enough")) }), { message: "enough" });
});

test("a storage that has room again gets the next tokens", async (t) => {
  const { client, browser, proxy, tabs } = await begin(t, { tabs: 2 });
  browser.room = 1;
  await client.refresh();
  assert.equal(browser.state, undefined);
  browser.room = Infinity;
  await succeed(client.fetch(api(proxy)));
  await client.refresh();
  assert.ok(browser.state.refreshToken);
  assert.equal(tabs[1].client.signedIn, true);
});

test("a pause is no longer than a timer can be", async (t) => {
  const { client, proxy, tabs } = await begin(t, { client: { patience: Infinity } });
  const pauses = [];
  tabs[0].global.setTimeout = (wake, ms) => (pauses.push(ms), setTimeout(wake, ms > 1e8 ? 1000 : ms));
  proxy.rule = (request) => (isRefresh(request) && proxy.count("/refresh-token") === 1 ? away(3_000_000) : undefined);
  assert.equal(await client.refresh(), true);
  assert.ok(pauses.some((ms) => ms > 1e8 && ms < 2 ** 31), String(pauses));
});

test("a listener that has gone hears nothing", async (t) => {
  const { client } = await begin(t);
  let heard = 0;
  const end = client.subscribe(() => heard++);
  const refreshed = client.refresh();
  await refreshed;
  await sleep(0);
  assert.equal(heard, 1);
  const leaving = client.logout(); // the state changes at once, and listeners hear of it after that
  end();
  await leaving;
  assert.equal(heard, 1);
});

test("clients that share no tokens do not wait for each other", async (t) => {
  const { browser, proxy, tabs } = await begin(t, { tabs: 2, signedIn: false });
  const [one, two] = tabs.map((tab) => tab.connect(proxy.url, { storage: tab.module.memoryStorage() }));
  await one.login(...john);
  await two.login("maria@mail.com", "12345");
  let late = true;
  proxy.rule = (request) => (isRefresh(request) && late ? ((late = false), sleep(1000)) : undefined);
  const slow = one.refresh();
  await until(() => proxy.count("/refresh-token") === 1);
  const began = performance.now();
  await two.refresh();
  assert.ok(performance.now() - began < 900);
  await slow;
  assert.ok(browser.locks.granted >= 2);
});

test("a storage that is forbidden, full or damaged", async (t) => {
  const { client, proxy, browser, tabs } = await begin(t, { signedIn: false });
  browser.forbidden = true;
  await client.login(...john);
  await succeed(client.fetch(api(proxy)));
  await client.refresh();
  await succeed(client.fetch(api(proxy)));
  await client.logout();
  assert.equal(client.signedIn, false);
  assert.equal(tabs[0].signedOut.length, 1);
  browser.forbidden = false;
  for (const text of ["", "null", "7", "{", "[]", "{}", '"text"', '{"at":"x"}']) {
    browser.items.set("signet:" + proxy.url, text);
    assert.equal(client.signedIn, false, text);
    assert.equal((await client.fetch(api(proxy))).status, 401, text);
  }
  const fresh = new Browser();
  fresh.forbidden = true;
  const tab = await fresh.open();
  const { login, accessToken } = tab.connect(proxy.url);
  await login(...john);
  assert.ok(await accessToken());
});

test("a storage that can be read but not written", async (t) => {
  for (const removable of [true, false]) {
    const proxy = await Proxy.start();
    const browser = new Browser();
    t.after(() => (browser.close(), proxy.close()));
    const items = new Map();
    let readOnly = false;
    const full = () => {
      throw new Error("read-only");
    };
    const storage = {
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => (readOnly ? full() : void items.set(key, value)),
      removeItem: (key) => (readOnly && !removable ? full() : void items.delete(key)),
    };
    const tab = await browser.open();
    const client = tab.connect(proxy.url, { storage });
    await client.login(...john);
    readOnly = true;
    const [key, text] = [...items].find(([key]) => key.startsWith("signet:"));
    items.set(key, JSON.stringify({ ...JSON.parse(text), at: Date.now() - 3600_000, accessToken: "spoiled" }));
    for (let i = 0; i < 3; i++) await succeed(client.fetch(api(proxy)));
    assert.equal(proxy.count("/refresh-token"), 1, "removable: " + removable);
    await client.logout();
    assert.equal(client.signedIn, false);
    assert.equal((await client.fetch(api(proxy))).status, 401);
    assert.equal(tab.signedOut.length, 1);
  }
});

test("secrets follow no redirect", async (t) => {
  const { client, proxy } = await begin(t);
  const elsewhere = await Proxy.start();
  t.after(() => elsewhere.close());
  proxy.rule = ({ path }) => ({ status: 307, headers: { Location: elsewhere.origin + path } });
  const calls = ["refresh", "profile", "ticket", "logoutAll"].map((name) => () => client[name]());
  for (const call of [...calls, () => client.login(...john), () => client.secondStep("t", "1"), () => client.stepUp("changeme")]) {
    await assert.rejects(call(), { status: 307, code: "redirected" });
  }
  assert.equal(proxy.seen.filter(isRefresh).length, 1, "it is not tried again");
  await assert.rejects(client.logout(), { status: 307, code: "redirected" });
  assert.equal(elsewhere.seen.length, 0);
});

test("a check of the host before a logout ends nothing", async (t) => {
  const { client, proxy, tabs } = await begin(t);
  const problem = (code) => ({ status: 401, headers: { "Content-Type": "application/problem+json" }, body: JSON.stringify({ code }) });
  proxy.rule = ({ path }) => (path.endsWith("/logout-all") ? problem("insufficient_user_authentication") : undefined);
  await assert.rejects(client.logoutAll(), { status: 401, code: "insufficient_user_authentication" });
  assert.equal(client.signedIn, true);
  assert.deepEqual(tabs[0].signedOut, []);
  assert.equal(proxy.count("/refresh-token"), 0, "a new token would not help, also if no header says so");
  proxy.rule = ({ path }) => (path.endsWith("/logout") ? problem("missing_token") : undefined);
  await assert.rejects(client.logout(), { status: 401, code: "missing_token" });
});

test("a server without sessions has nothing to end, and the answer of a proxy ends nothing", async (t) => {
  const { client, proxy } = await begin(t);
  const json = { "Content-Type": "application/problem+json" };
  for (const [answer, ended] of [
    [{ status: 404, headers: json, body: '{"code":"not_found"}' }, true],
    [{ status: 401, headers: { "WWW-Authenticate": 'Bearer realm="api", error="invalid_token"' }, body: "of the host" }, true],
    [{ status: 401, headers: { "WWW-Authenticate": 'Basic realm="proxy", Bearer Error = invalid_token' }, body: "of the host" }, true],
    [{ status: 404, body: "default backend" }, false],
    [{ status: 401, body: "sign in to the proxy" }, false],
  ]) {
    proxy.rule = ({ path }) => (path.endsWith("/logout") ? answer : undefined);
    await client.login(...john);
    if (ended) await client.logout();
    else await assert.rejects(client.logout(), { status: answer.status, code: "http_" + answer.status });
  }
});

test("tokens that a page of the host got", async (t) => {
  const { client, proxy, tabs } = await begin(t, { signedIn: false, tabs: 2 });
  const answer = await fetch(proxy.url + "/login", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email: john[0], password: john[1] }),
  });
  client.setTokens(await answer.json());
  await succeed(client.fetch(api(proxy)), tabs[1].client.fetch(api(proxy)));
  assert.throws(() => client.setTokens({}), { name: "SignetError", code: "bad_answer" });
  assert.equal(client.signedIn, true);
});

test("a storage that is full keeps no old tokens", async (t) => {
  const { clients, proxy, browser, tabs } = await begin(t, { tabs: 2 });
  const size = [...browser.items].flat().join("").length;
  browser.room = size - 1; // less than the next pair needs
  assert.equal(await clients[0].refresh(), true);
  assert.equal(browser.state, undefined, "the pair before would look stolen");
  await succeed(clients[0].fetch(api(proxy)));
  assert.equal(clients[1].signedIn, false);
  browser.room = Infinity;
  await clients[1].login("maria@mail.com", "12345");
  assert.equal((await clients[0].profile()).email, "maria@mail.com", "what another tab has stored counts");
  await clients[1].logout();
  assert.equal(clients[0].signedIn, false);
  assert.ok(tabs[0].signedOut.every((error) => !error));
});

test("a wrong password in a request is sent once", async (t) => {
  const { client, proxy } = await begin(t);
  for (const code of ["invalid_credentials", "invalid_code", "invalid_ticket", "second_step_required"]) {
    proxy.rule = ({ path }) =>
      path.endsWith("/echo") && {
        status: 401,
        headers: { "Content-Type": "application/problem+json", "WWW-Authenticate": 'Bearer realm="api"' },
        body: JSON.stringify({ code }),
      };
    const before = proxy.seen.length;
    const answer = await client.fetch(api(proxy), { method: "POST", body: "old=x" });
    assert.equal((await answer.json()).code, code, "the body can be read");
    assert.equal(proxy.seen.length, before + 1);
  }
});

test("the memory keeps a tab's tokens from the others", async (t) => {
  const { proxy, tabs } = await begin(t, { tabs: 2, signedIn: false });
  const [one, two] = tabs.map((tab) => tab.connect(proxy.url, { storage: tab.module.memoryStorage() }));
  await one.login(...john);
  await sleep(20);
  assert.deepEqual([one.signedIn, two.signedIn], [true, false]);
  assert.equal(await one.refresh(), true);
  await one.logout();
  assert.equal(one.signedIn, false);
  one.close();
  two.close();
});

test("a login while a refresh is under way wins", async (t) => {
  const { client, proxy } = await begin(t);
  let late = true;
  proxy.rule = async (request) => {
    if (isRefresh(request)) await until(() => !late);
  };
  const refreshed = client.refresh();
  await until(() => proxy.count("/refresh-token") === 1);
  await client.login("maria@mail.com", "12345");
  late = false;
  await refreshed;
  assert.equal((await client.profile()).email, "maria@mail.com");
});

test("a closed client does not listen", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  client.close();
  const before = tabs[0].changes;
  age(browser, 1000);
  for (const type of ["visibilitychange", "storage", "online", "pagehide"]) tabs[0].dispatch(type);
  tabs[0].dispatch("pageshow", { persisted: true });
  await sleep(50);
  assert.deepEqual([tabs[0].changes, proxy.count("/refresh-token")], [before, 0]);
});
