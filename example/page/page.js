// The page of the example. All of the login is in /signet.js; this file only shows it.
import { createClient } from "/signet.js";

const $ = (id) => document.getElementById(id);
const MOUNTS = { bearer: "/api/v1/auth", cookie: "/web/auth" };
let mode = localStorage.getItem("mode") ?? "bearer";
let client; // of the mode
let ticket; // of a login that waits for its second step
let again; // what to do after a step-up
let enrolled = false;

// Every request of the page is shown, without its secrets.
async function send(input, init) {
  const request = new Request(input, init);
  const shown = { what: `${request.method} ${new URL(request.url).pathname}` };
  try {
    const response = await fetch(request);
    shown.status = response.status;
    shown.code = response.ok ? "" : (await response.clone().json().catch(() => ({}))).code;
    return response;
  } catch (error) {
    shown.code = "no answer";
    throw error;
  } finally {
    note(shown);
  }
}

function note({ what, status, code }) {
  const line = document.createElement("li");
  const result = document.createElement("span");
  result.className = status && status < 400 ? "ok" : "refused";
  result.textContent = ` ${status ?? ""} ${code ?? ""}`;
  line.append(`${new Date().toLocaleTimeString()} ${what}`, result);
  $("log").prepend(line);
  while ($("log").children.length > 30) $("log").lastChild.remove();
}

function say(text, kind = "") {
  $("status").textContent = text;
  $("status").className = kind;
}

function open() {
  client?.close();
  client = createClient({
    baseURL: MOUNTS[mode], mode, fetch: send,
    onSignedOut: (error) => say(error ? `Signed out: ${error.message}.` : "Signed out.", error ? "bad" : ""),
  });
  client.subscribe(show);
  show();
}

// show shows who is signed in. It runs after every change, in all tabs.
let shownSignedIn;
async function show() {
  const signedIn = client.signedIn;
  $("signed-in").hidden = !signedIn;
  $("signed-out").hidden = signedIn;
  if (signedIn !== shownSignedIn) {
    shownSignedIn = signedIn;
    ticket = undefined;
    $("second-step").hidden = true;
    $("sign-in").hidden = false;
    for (const id of ["factor-confirm", "recovery", "step-up"]) $(id).hidden = true;
    if (signedIn) await Promise.all([showProfile(), showSessions(), showFactor()]).catch(explain);
  }
  await showTokens().catch(explain);
}

async function json(path, init) {
  const response = await client.fetch(path, init);
  const body = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw Object.assign(new Error(body.message), { status: response.status, code: body.code });
  return body;
}

const post = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

function explain(error) {
  if (error.code === "insufficient_user_authentication") return;
  const wait = error.retryAfter;
  if (error.status === 429 && wait) return countDown(wait);
  say(`${error.message[0].toUpperCase()}${error.message.slice(1)}.`, "bad");
}

// countDown shows how long the account is closed.
let ticking;
function countDown(seconds) {
  clearInterval(ticking);
  const end = Date.now() + seconds * 1000;
  const button = $("sign-in").querySelector("button");
  const tick = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    if (left > 0) return say(`Too many attempts. Try again in ${left} s.`, "bad");
    clearInterval(ticking);
    say("You can try again.");
  };
  ticking = setInterval(tick, 1000);
  tick();
}

async function showProfile() {
  const { id, email, name, role } = await client.profile();
  $("profile").replaceChildren(...Object.entries({ id, email, name, role }).flatMap(([key, value]) => {
    const dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = key;
    dd.textContent = value;
    return [dt, dd];
  }));
}

// The tokens: header and claims, and when they expire.
function decode(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

let expiries = [];
async function showTokens() {
  const tokens = client.tokens;
  expiries = [];
  $("tokens").replaceChildren();
  if (!tokens) return;
  if (mode === "cookie") {
    const claims = await json("/api/v1/claims");
    block("Access token: no script can read it. The server says that it has", [claims], claims.exp);
    return;
  }
  for (const [title, token] of [["Access token", tokens.accessToken], ["Refresh token", tokens.refreshToken]]) {
    const [header, claims] = token.split(".").map((part, i) => (i < 2 ? decode(part) : undefined));
    block(title, [header, claims], claims.exp);
  }
}

function block(title, parts, exp) {
  const heading = document.createElement("h3");
  const left = document.createElement("p");
  left.className = "soft";
  expiries.push({ left, exp });
  heading.textContent = title;
  $("tokens").append(heading, left, ...parts.map((part) => {
    const pre = document.createElement("pre");
    pre.textContent = JSON.stringify(part, null, 2);
    return pre;
  }));
  tickExpiries();
}

function tickExpiries() {
  for (const { left, exp } of expiries) {
    const seconds = Math.max(0, Math.round(exp - Date.now() / 1000));
    const units = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
    left.textContent = seconds ? "expires in " + units.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}`).join(" ") : "expired; the next request renews it";
  }
}
setInterval(tickExpiries, 1000);

async function showSessions() {
  const { sessions } = await json(`${MOUNTS[mode]}/sessions`);
  $("sessions").replaceChildren(...sessions.map((s) => {
    const li = document.createElement("li");
    const text = document.createElement("span");
    const agent = s.user_agent.match(/Firefox|Edg|Chrome|Safari|curl/)?.[0] ?? (s.user_agent.slice(0, 40) || "an unknown client");
    text.textContent = `${agent} at ${s.address}, since ${new Date(s.created_at).toLocaleString()}${s.current ? " (this one)" : ""}`;
    const end = document.createElement("button");
    end.className = "quiet";
    end.textContent = "Sign out";
    end.setAttribute("aria-label", `Sign out ${text.textContent}`);
    end.onclick = () => act(async () => {
      if (s.current) return client.logout();
      await json(`${MOUNTS[mode]}/sessions/${s.id}`, { method: "DELETE" });
      say("That session has ended.", "good");
      await showSessions();
    });
    li.append(text, end);
    return li;
  }));
}

async function showFactor() {
  ({ enrolled } = await json("/api/v1/second-factor"));
  $("factor-state").textContent = enrolled ? "A second factor is set up: the next login asks for a code." : "There is no second factor yet.";
  $("factor-begin").hidden = enrolled;
  $("factor-remove").hidden = !enrolled;
}

// act does what a button says, and asks for a fresh proof of who the user is if the server wants one.
async function act(work) {
  try {
    say("");
    await work();
  } catch (error) {
    explain(error);
    if (error.code !== "insufficient_user_authentication") return;
    again = work;
    $("step-up-label").textContent = enrolled ? "Code of the authenticator app" : "Password";
    $("step-up-answer").value = "";
    $("step-up").hidden = false;
    $("step-up-answer").focus();
    say("Show once more that it is you.");
  }
}

function onSubmit(id, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => work(new FormData(event.target)));
  });
}

onSubmit("sign-in", async (form) => {
  try {
    await client.login(form.get("email"), form.get("password"), { remember: form.has("remember") });
    say("Signed in.", "good");
  } catch (error) {
    if (error.code !== "second_step_required") throw error;
    ticket = error.ticket;
    $("sign-in").hidden = true;
    $("second-step").hidden = false;
    $("step-code").value = "";
    $("step-code").focus();
    say("The password is right. Now a code is needed.");
  }
});

onSubmit("second-step", async (form) => {
  await client.secondStep(ticket, form.get("code"));
  say("Signed in with two steps.", "good");
});

onSubmit("step-up", async (form) => {
  await client.stepUp(form.get("answer"));
  $("step-up").hidden = true;
  await again?.();
});

onSubmit("factor-confirm", async (form) => {
  const { recovery_codes: codes } = await json("/api/v1/second-factor/confirm", post({ code: form.get("code") }));
  $("factor-confirm").hidden = true;
  $("recovery-codes").replaceChildren(...codes.map((text) => {
    const li = document.createElement("li"), code = document.createElement("code");
    code.textContent = text;
    li.append(code);
    return li;
  }));
  $("recovery").hidden = false;
  say("The second factor is set up.", "good");
  await showFactor();
});

const buttons = {
  "cancel-step": () => { $("second-step").hidden = true; $("sign-in").hidden = false; },
  refresh: async () => { if (await client.refresh()) say("The tokens are new.", "good"); },
  orders: async () => { const { orders } = await json("/api/v1/orders"); say(`You have ordered: ${orders.map((o) => o.item).join(", ")}.`, "good"); },
  "sign-out": () => client.logout(),
  "sign-out-all": () => client.logoutAll(),
  "factor-begin": async () => {
    const { secret, uri } = await json("/api/v1/second-factor", post());
    $("factor-secret").textContent = secret;
    $("factor-uri").href = uri;
    $("factor-confirm").hidden = false;
    $("factor-code").focus();
  },
  "factor-remove": async () => { await json("/api/v1/second-factor", { method: "DELETE" }); await showFactor(); say("The second factor is gone.", "good"); },
  transfer: async () => { await json("/api/v1/transfer", post()); say("Transferred.", "good"); },
};
for (const [id, work] of Object.entries(buttons)) $(id).addEventListener("click", () => act(async () => work()));

for (const input of document.querySelectorAll("input[name=mode]")) {
  input.checked = input.value === mode;
  input.addEventListener("change", () => {
    mode = input.value;
    localStorage.setItem("mode", mode);
    shownSignedIn = undefined;
    say("");
    open();
  });
}
open();
