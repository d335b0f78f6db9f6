// Cookie mode: the tokens are in the browser's cookies, and the storage holds no secret.

import assert from "node:assert/strict";
import test from "node:test";

import { age, api, away, begin as beginBearer, isRefresh, succeed } from "./help.mjs";
import { john, sleep, until } from "./world.mjs";

const server = process.env.SIGNET_COOKIE_URL;
if (!server) throw new Error("SIGNET_COOKIE_URL is not set: run `go test -run JavaScriptClient ./integration/`");

const begin = (t, options = {}) =>
  beginBearer(t, { server, ...options, tab: { cookies: true, ...options.tab }, client: { mode: "cookie", ...options.client } });

/** spoil makes the access cookie one that the server refuses. */
function spoil({ jar }) {
  const cookie = jar.cookies.get(jar.named("access"));
  cookie.value = cookie.value.replace(/.{6}$/, "AAAAAA");
}

test("a login, a profile, a logout", async (t) => {
  const { client, browser, proxy, tabs } = await begin(t, { signedIn: false });
  assert.equal(client.signedIn, false);
  await assert.rejects(client.login(john[0], "wrong"), { status: 401, code: "invalid_credentials" });
  await client.login(...john);
  assert.equal(client.signedIn, true);
  const { who, ...rest } = browser.state;
  assert.equal(who, "1");
  for (const [key, value] of Object.entries(rest)) assert.equal(typeof value, "number", key + " is no secret");
  assert.equal(await client.accessToken(), undefined);
  assert.deepEqual([client.tokens.accessToken, client.tokens.refreshToken], [undefined, undefined]);
  assert.ok(client.tokens.expiresAt > Date.now());
  for (const { line } of browser.jar.cookies.values()) assert.match(line, /HttpOnly/i);
  assert.equal((await client.profile()).email, john[0]);
  await succeed(client.fetch(api(proxy), { method: "POST", body: "x" }));
  for (const { headers } of proxy.seen) assert.equal(headers.authorization, undefined);
  await client.logout();
  assert.equal(client.signedIn, false);
  assert.equal(browser.jar.cookies.size, 0);
  assert.deepEqual(tabs[0].signedOut, [undefined]);
  assert.equal((await client.fetch(api(proxy))).status, 401);
});

test("eight tabs that meet 401 make one refresh", async (t) => {
  const { proxy, browser, tabs, clients } = await begin(t, { tabs: 8 });
  for (let round = 1; round <= 3; round++) {
    if (round % 2) spoil(browser);
    else age(browser, 1000);
    await sleep(5); // a state is told from another by its time
    await succeed(...clients.flatMap((client) => [client.fetch(api(proxy)), client.fetch(api(proxy), { method: "POST", body: "x" })]));
    assert.equal(proxy.count("/refresh-token"), round);
  }
  await clients[2].logoutAll();
  await until(() => tabs.every(({ signedOut }) => signedOut.length === 1));
});

test("a session is kept alive", async (t) => {
  const { client, proxy, browser } = await begin(t);
  browser.change({ life: 1_728_000, idle: 36_000 });
  age(browser, 4 * 3600);
  await client.accessToken();
  assert.equal(proxy.count("/refresh-token"), 0);
  age(browser, 2 * 3600);
  await client.accessToken();
  await until(() => proxy.count("/refresh-token") === 1);
});

test("a cookie that a page of the server has set is found", async (t) => {
  const { client, browser, proxy, tabs } = await begin(t);
  browser.items.clear();
  assert.equal(client.signedIn, false);
  await succeed(client.fetch(api(proxy)));
  spoil(browser);
  await succeed(client.fetch(api(proxy)));
  assert.equal(client.signedIn, true);
  browser.items.clear();
  assert.equal(await client.refresh(), true);
  assert.equal(client.signedIn, true);
  browser.items.clear();
  browser.jar.cookies.clear();
  const before = tabs[0].signedOut.length;
  assert.equal(await client.refresh(), false);
  assert.equal((await client.fetch(api(proxy))).status, 401);
  assert.ok(tabs[0].signedOut.length - before <= 1);
});

test("a logout without the server leaves the user signed in, because only the server can delete the cookie", async (t) => {
  const { client, proxy } = await begin(t, { client: { patience: 0.3 } });
  proxy.rule = () => away(60);
  await assert.rejects(client.logout(), { status: 503, retryAfter: 60 });
  assert.equal(client.signedIn, true);
  proxy.rule = () => {};
  await client.logout();
  assert.equal(client.signedIn, false);
});

test("a late answer of a refresh does not bring the user before back", async (t) => {
  for (const logout of [false, true]) {
    const { client, proxy, browser } = await begin(t);
    let late = true;
    proxy.rule = async (request) => {
      if (isRefresh(request)) await until(() => !late);
    };
    const refreshed = client.refresh().catch(() => {});
    await until(() => proxy.count("/refresh-token") === 1);
    if (logout) await client.logout();
    await client.login("maria@mail.com", "12345");
    late = false;
    await refreshed;
    await sleep(50);
    assert.equal((await client.profile()).email, "maria@mail.com");
    spoil(browser);
    assert.equal((await client.profile()).email, "maria@mail.com");
  }
});

test("a late answer of logoutAll signs nobody else out", async (t) => {
  for (const tabs of [1, 2]) {
    const { clients, proxy, browser } = await begin(t, { tabs });
    let late = true;
    proxy.rule = async ({ path }) => {
      if (path.endsWith("/logout-all")) await until(() => !late);
    };
    const ended = clients[0].logoutAll();
    await until(() => proxy.count("/logout-all") === 1);
    const login = clients.at(-1).login("maria@mail.com", "12345");
    await sleep(50);
    late = false;
    await ended;
    await login;
    await sleep(50);
    assert.equal(clients.at(-1).signedIn, true);
    assert.equal(browser.jar.cookies.size, 2);
    assert.equal((await clients.at(-1).profile()).email, "maria@mail.com");
  }
});

test("a step-up that is given up does not bring the user before back", async (t) => {
  const { client, proxy } = await begin(t);
  let late = true;
  proxy.rule = async ({ path }) => {
    if (path.endsWith("/step-up")) await until(() => !late);
  };
  const stop = new AbortController();
  const raised = client.stepUp("changeme", { signal: stop.signal });
  await until(() => proxy.count("/step-up") === 1);
  stop.abort();
  await assert.rejects(raised, { name: "AbortError" });
  const login = client.login("maria@mail.com", "12345");
  await sleep(100);
  late = false;
  await login;
  await sleep(300);
  assert.equal((await client.profile()).email, "maria@mail.com");
});

test("a step-up that is given up is not sent again", async (t) => {
  const { client, proxy } = await begin(t);
  let late = true;
  proxy.rule = async ({ path }) => {
    if (!path.endsWith("/step-up")) return;
    await until(() => !late);
    return { status: 401, headers: { "Content-Type": "application/problem+json" }, body: '{"code":"invalid_token"}' };
  };
  const stop = new AbortController();
  const raised = client.stepUp("changeme", { signal: stop.signal });
  await until(() => proxy.count("/step-up") === 1);
  stop.abort();
  await assert.rejects(raised, { name: "AbortError" });
  late = false;
  await client.login("maria@mail.com", "12345"); // waits for the lock
  assert.equal(proxy.count("/step-up"), 1);
  assert.equal(proxy.count("/refresh-token"), 0);
});

test("a login whose answer is cut off may have changed the user", async (t) => {
  const { client, tabs } = await begin(t);
  const real = tabs[0].global.fetch;
  let cut = /\/login$/;
  tabs[0].global.fetch = async (...request) => {
    const response = await real(...request);
    if (cut.test(String(request[0]))) response.text = () => Promise.reject(new TypeError("cut off"));
    return response;
  };
  let changes = 0;
  client.subscribe(() => changes++);
  await assert.rejects(client.login("maria@mail.com", "12345"), { name: "SignetError" });
  await until(() => changes === 1);
  assert.equal(client.signedIn, true);
  assert.equal((await client.profile()).email, "maria@mail.com", "the cookies are hers");
  cut = /^$/;
  await sleep(0);
  const before = changes;
  await assert.rejects(client.login("maria@mail.com", "wrong"), { status: 401 });
  await sleep(50);
  assert.equal(changes, before, "a refusal changes nothing");
});

test("a login without an answer stops no request of the user who is still signed in", async (t) => {
  const { client, proxy, browser } = await begin(t);
  proxy.rule = ({ path }) => (path.endsWith("/login") ? "refuse" : undefined);
  await assert.rejects(client.login("maria@mail.com", "12345"), { code: "network_error" });
  age(browser, 1000); // so that any version renews first
  await succeed(client.fetch(api(proxy), { method: "POST", body: "of John" }));
  assert.equal((await client.profile()).email, john[0]);
});

test("a page that goes away signs out at once", async (t) => {
  const { client, proxy, tabs } = await begin(t);
  let sent = false;
  const real = tabs[0].global.fetch;
  tabs[0].global.fetch = (...request) => ((sent ||= String(request[0]).endsWith("/logout")), real(...request));
  tabs[0].dispatch("pagehide");
  const done = client.logout();
  assert.ok(sent);
  await done;
  assert.equal(proxy.count("/logout"), 1);
  assert.equal(client.signedIn, false);
});

test("a step-up whose renewal gets no answer rejects with a SignetError", async (t) => {
  const { client, proxy } = await begin(t);
  proxy.rule = ({ path }) => {
    if (path.endsWith("/step-up")) return { status: 401, headers: { "Content-Type": "application/problem+json" }, body: '{"code":"invalid_token"}' };
    if (isRefresh({ path })) return new Promise(() => {});
  };
  const raised = client.stepUp("changeme");
  await until(() => proxy.count("/refresh-token") === 1);
  const login = client.login("maria@mail.com", "12345"); // gives the renewal up
  await assert.rejects(raised, { name: "SignetError" });
  await login;
});

test("what waits for a renewal is not sent for another user", async (t) => {
  const { client, proxy, browser } = await begin(t);
  spoil(browser);
  let late = true;
  proxy.rule = async (request) => {
    if (isRefresh(request)) await until(() => !late);
  };
  const answer = client.fetch(api(proxy), { method: "POST", body: "of John" });
  await until(() => proxy.count("/refresh-token") === 1);
  await client.login("maria@mail.com", "12345");
  late = false;
  assert.equal((await answer).status, 401);
  assert.equal(proxy.seen.filter(({ body }) => body === "of John").length, 1);
});

for (const path of ["/logout", "/logout-all"]) {
  test(path + " that is repeated does not sign out who has signed in meanwhile", async (t) => {
    const { clients, proxy } = await begin(t, { tabs: 2 });
    proxy.rule = (request) => (request.path.endsWith(path) ? away(1) : undefined);
    const leaving = path === "/logout" ? clients[0].logout() : clients[0].logoutAll();
    const refused = assert.rejects(leaving, { status: 409, code: "user_changed" });
    await until(() => proxy.count(path) === 1);
    proxy.rule = () => {};
    await clients[1].login("maria@mail.com", "12345");
    await refused;
    await succeed(clients[1].fetch(api(proxy)));
    assert.equal(proxy.count(path), 1);
  });
}

for (const path of ["/logout", "/logout-all"]) {
  test(path + " that is repeated ends nothing of a user whom a page of the server has signed in meanwhile", async (t) => {
    const { clients, proxy, browser } = await begin(t, { tabs: 2 });
    proxy.rule = (request) => (request.path.endsWith(path) ? away(1) : undefined);
    const leaving = path === "/logout" ? clients[0].logout() : clients[0].logoutAll();
    const ended = path === "/logout" ? leaving : assert.rejects(leaving, { code: "user_changed" });
    await until(() => proxy.count(path) === 1);
    proxy.rule = () => {};
    if (path === "/logout") browser.items.clear(); // another tab has signed out; its cookies are gone
    else await clients[1].logout();
    await browser.jar.fetch(proxy.origin + "/social", { credentials: "include" });
    await ended;
    await succeed(browser.jar.fetch(api(proxy), { credentials: "include" }));
  });
}

test("a logout in another tab counts while the storage is full", async (t) => {
  const { clients, browser } = await begin(t, { tabs: 2 });
  browser.room = JSON.stringify(browser.state).length;
  browser.room -= 1; // the next state does not fit, and the one before stays: it is the same user
  await clients[0].refresh();
  assert.deepEqual([clients[0].signedIn, clients[1].signedIn], [true, true]);
  await clients[1].logout();
  assert.deepEqual([clients[0].signedIn, clients[1].signedIn], [false, false]);
});

test("a logout that waits for a login does not sign out who signs in", async (t) => {
  const { clients, proxy } = await begin(t, { tabs: 2 });
  let late = true;
  proxy.rule = ({ path }) => (path.endsWith("/login") ? until(() => !late) : undefined);
  const login = clients[1].login("maria@mail.com", "12345");
  await until(() => proxy.count("/login") === 2);
  const refused = assert.rejects(clients[0].logout(), { code: "user_changed" });
  await sleep(50);
  late = false;
  await login;
  await refused;
  await succeed(clients[1].fetch(api(proxy)));
});

test("a user whom a page of the server has signed in is another user", async (t) => {
  const { client, proxy, browser } = await begin(t);
  const sent = await client.fetch(proxy.origin + "/api/recent"); // so that the session is John's for certain
  await succeed(sent);
  await browser.jar.fetch(proxy.origin + "/social", { credentials: "include" });
  proxy.rule = ({ path, body }) => (path.endsWith("/echo") && body ? { status: 401, body: "" } : undefined);
  const answer = await client.fetch(api(proxy), { method: "POST", body: "of John" });
  assert.equal(answer.status, 401, "it is not sent again as Maria");
  assert.equal(proxy.count("/echo"), 1);
  assert.equal((await client.profile()).email, "maria@mail.com");
  assert.equal(browser.state.who, "2");
});

test("logoutAll does not end the sessions of a user whom a page of the server has signed in", async (t) => {
  const { client, proxy, browser } = await begin(t);
  await browser.jar.fetch(proxy.origin + "/social", { credentials: "include" });
  age(browser, 1000);
  await assert.rejects(client.logoutAll(), { code: "user_changed" });
  assert.equal((await client.profile()).email, "maria@mail.com");
});

test("a login that is given up is not made later", async (t) => {
  const { client, proxy } = await begin(t, { client: { patience: 0.3 } });
  const controller = new AbortController();
  controller.abort(new Error("given up"));
  await assert.rejects(client.login("maria@mail.com", "12345", { signal: controller.signal }), /given up/);
  await sleep(20);
  assert.equal((await client.profile()).email, john[0]);
  assert.equal(proxy.count("/login"), 1);
});

test("a session that was ended elsewhere signs out", async (t) => {
  const { client, proxy, tabs, browser } = await begin(t);
  const { client: elsewhere } = await begin(t);
  await elsewhere.logoutAll();
  spoil(browser);
  assert.equal((await client.fetch(api(proxy))).status, 401);
  assert.equal(client.signedIn, false);
  assert.deepEqual(tabs[0].signedOut.map(({ status }) => status), [401]);
});

test("the network loses a fifth of the answers", async (t) => {
  const { clients, proxy, tabs, browser } = await begin(t, { tabs: 2 });
  let seed = 3;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  let lost = 0;
  proxy.rule = (request) => {
    if (!isRefresh(request) || random() >= 0.2) return;
    lost++;
    return random() < 0.7 ? "lose" : "refuse";
  };
  for (let renewed = 0; renewed < 100; renewed++) {
    await sleep(2);
    assert.deepEqual(await Promise.all(clients.map((client) => client.refresh())), [true, true]);
  }
  assert.ok(lost > 10, String(lost));
  assert.deepEqual(tabs.flatMap(({ signedOut }) => signedOut), []);
  spoil(browser);
  await succeed(clients[0].fetch(api(proxy)));
});
