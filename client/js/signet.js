/**
 * A client for the login API of signet: sign in, and a `fetch` that renews its tokens by itself. Users are signed out only
 * when they ask for it or when the server has refused the refresh token. signet.d.ts describes every name.
 *
 * @module @signet-go/client
 */

const ATTEMPT = 10_000; // how long one request may wait for its answer, in milliseconds
const ANOTHER_PROOF = "insufficient_user_authentication"; // the code of an answer 401 to a good token (RFC 9470)
const LEASE = 15_000; // how long a tab waits for the lock of another tab, in milliseconds

/** SignetError is what went wrong, in the words of the server. The status is 0 when no answer came. */
export class SignetError extends Error {
  constructor(message, { status = 0, code = "network_error", ticket, retryAfter, cause } = {}) {
    super(message, { cause });
    this.name = "SignetError";
    Object.assign(this, { status, code, ticket, retryAfter });
  }
}

const OWN = Symbol(); // the name of a storage that no other tab has

/** memoryStorage returns a storage for the tokens of one tab. They are gone when the tab closes or loads again. */
export function memoryStorage() {
  const items = new Map();
  return {
    [OWN]: Math.random(),
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

/** createClient returns a client for the login API below baseURL. Its functions need no `this`. */
export function createClient({ baseURL, mode = "bearer", origins = [], patience = 30, onSignedOut, ...options }) {
  if (mode !== "bearer" && mode !== "cookie") throw new TypeError('mode is "bearer" or "cookie"');
  const cookie = mode === "cookie";
  const mount = new URL(baseURL, globalThis.location?.href);
  const base = mount.origin + mount.pathname.replace(/\/+$/, "");
  const trusted = [mount, ...origins].map((url) => new URL(url).origin);
  if (trusted.includes("null")) throw new TypeError("an API has an http or https URL");
  const key = "signet:" + base;
  const storage = options.storage ?? browserStorage() ?? memoryStorage();
  const send = options.fetch ?? ((...request) => globalThis.fetch(...request));
  const shared = ((!cookie && storage[OWN]) || "") + key; // the name of those who share the tokens
  const listeners = new Set();
  const offline = new Set(); // those who wait for the network
  const closed = new AbortController();

  // The state: what the storage holds. It is read again at every use, because other tabs write it too.

  let held; // the text that the storage did not take: it is full, or the browser forbids it
  let stale; // the text that is still there instead
  let seen = read()?.text; // what the listeners know

  /**
   * read returns {text, at, life, idle}, and {accessToken, refreshToken} or in cookie mode {who}; undefined: nobody is signed in. The tokens
   * were asked for at `at`, the access token lives for `life` seconds, and the session ends `idle` seconds after its last renewal.
   */
  function read() {
    let text = stale;
    try {
      text = storage.getItem(key);
    } catch {} // the browser forbids it
    if (text != stale) held = stale = undefined; // another tab has written since, or removed it
    else text = held;
    const state = parse(text);
    if (cookie ? state?.life : state?.refreshToken) return { ...state, text }; // otherwise this client has not written it
  }

  /** write stores a state, or removes it, and tells everyone. The error says why the server has ended the session. */
  function write(state, error) {
    const text = state && JSON.stringify({ ...state, text: undefined });
    held = stale = undefined;
    try {
      if (text) storage.setItem(key, text);
      else storage.removeItem(key);
    } catch {
      held = text;
      try {
        // The old text must not stay: to use it again would look like a theft. In cookie mode it matters only who it is.
        if (!cookie || parse(storage.getItem(key))?.who !== state?.who) storage.removeItem(key);
        if (text) storage.setItem(key, text); // there may be room now
      } catch {}
      try {
        stale = storage.getItem(key);
      } catch {}
    }
    channel?.postMessage(0);
    notice(error);
  }

  /** notice tells the listeners when the state is not the one that they know. */
  function notice(error) {
    const text = read()?.text;
    if (text === seen) return;
    if (!text && onSignedOut) queueMicrotask(() => onSignedOut(error));
    seen = text;
    listeners.forEach(queueMicrotask);
  }

  /** stateOf makes a state from an answer to a request that was sent at that time. In cookie mode, who is the id of the user; 0: unknown. */
  function stateOf(answer, at) {
    const { access_token: accessToken, refresh_token: refreshToken, expires_in, refresh_expires_in, sub: who } = answer ?? {};
    if (cookie ? !(expires_in > 0) : !(text(accessToken) && text(refreshToken))) throw bad();
    const life = seconds(expires_in) || lifetime(accessToken) || 1e9;
    const idle = seconds(refresh_expires_in) || lifetime(refreshToken); // NaN: it is not known
    return cookie ? { at, life, idle, who } : { accessToken, refreshToken, at, life, idle };
  }

  // Requests to the login API.

  /**
   * post sends one request and returns the JSON of its answer. With a state it sends its access token. A login may take its time:
   * a person waits for it, and it is not tried again.
   */
  async function post(path, body, signal, state) {
    let response, answer;
    try {
      response = await send(base + path, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...(!cookie && state && { Authorization: "Bearer " + state.accessToken }) },
        body: JSON.stringify(body),
        keepalive: path === "/logout", // it may be the last act of a page
        redirect: "manual", // the body has secrets
        ...(cookie && { credentials: "include" }),
        signal: signal ?? (path.startsWith("/login") ? undefined : AbortSignal.timeout(ATTEMPT)),
      });
      answer = await response.text();
    } catch (cause) {
      throw asError(cause, signal);
    }
    return result(response, answer);
  }

  /** obtain is post for an answer with tokens, and returns the state. */
  async function obtain(...request) {
    const at = Date.now();
    return stateOf(await post(...request), at);
  }

  /** persist repeats a job that fails because the server is away, as long as its patience lasts. */
  async function persist(job) {
    const end = performance.now() + 1000 * patience;
    for (let wait = 100; ; wait = Math.min(2 * wait, 5000)) {
      try {
        return await job();
      } catch (reason) {
        const error = asError(reason);
        const { status, retryAfter = 0 } = error;
        const pause = Math.min(Math.max(1000 * retryAfter, wait * (1 + Math.random())), 1e9); // a timer has 31 bits
        const passing = !status || status === 408 || status === 429 || status >= 500;
        if (!passing || performance.now() + pause > end) throw error;
        let wake;
        await new Promise((done) => {
          setTimeout((wake = done), pause);
          if (!status) offline.add(wake);
        });
        offline.delete(wake);
      }
    }
  }

  function enter(path, body, signal) {
    return alone(async () => {
      signal?.throwIfAborted();
      try {
        write(await obtain(path, body, signal));
      } catch (error) {
        const now = cookie && read();
        // Without an answer, the browser may have the cookies of the new user. So whatever comes next renews first: that tells who it is.
        if (now && (signal?.aborted || !error.status)) write({ ...now, at: 0, who: 0 });
        throw error;
      }
    }, signal);
  }

  /**
   * alone runs a job that changes who is signed in. In cookie mode the browser takes the cookies of each answer, also of one that
   * comes late. So nothing else that sets cookies may be under way.
   */
  function alone(job, signal) {
    if (!cookie) return job();
    renewal?.abort();
    return abortable(locked(job), signal);
  }

  /**
   * gone ignores the error of a server where the session has ended already, or that has no sessions. It throws any other one, such as
   * that of a check of the host in front of the logout.
   */
  const gone = (error) => {
    const codes = error.status === 401 ? ["invalid_token", cookie && "missing_token"] : ["not_found", "not_implemented"];
    if (!codes.includes(error.code)) throw error;
  };

  async function logout() {
    const state = read();
    if (!cookie) {
      write(); // at once: the server may be away
      if (!state) return;
    }
    const end = async () => {
      if (cookie && state && !ofSameUser(state, read())) return; // another tab has signed out
      await post("/logout", { refreshToken: state?.refreshToken }).catch(gone);
      if (cookie) write(); // the browser had the cookie until now
    };
    await persist(() => (hidden ? end() : alone(end))); // a page that goes away has no time to wait
  }

  async function logoutAll() {
    const state = read();
    if (cookie) return persist(() => endAll(state));
    const end = () => {
      ofSameUser(state, read());
      return ask("/logout-all", { method: "POST", signal: AbortSignal.timeout(ATTEMPT) });
    };
    await (state ? persist(end) : end()); // without a token the answer is 401
    const now = read();
    if (now && sessionOf(now) === sessionOf(state)) write(); // otherwise somebody has signed in
  }

  /** endAll is logoutAll in cookie mode. Its answer takes the cookies away, so nobody may sign in meanwhile. */
  async function endAll(state) {
    const end = () =>
      alone(async () => {
        ofSameUser(state, read());
        await post("/logout-all", {});
        write();
      });
    if (!(await fresh())) await renew(); // who it is
    try {
      await end();
    } catch (error) {
      if (error.status !== 401 || !(await renew(read()?.text))) throw error;
      await end();
    }
  }

  // Renewal: one at a time in this tab, and one at a time in all tabs.

  let renewing;
  let renewal; // aborts the request that is under way

  /** renew returns a state other than the used one: of another tab, or of the server. Undefined: signed out. */
  function renew(used, signal) {
    renewing ??= persist(() => locked(() => refresh(used))).finally(() => (renewing = undefined));
    return abortable(renewing, signal);
  }

  /** refresh sends the stored refresh token. It may be sent any number of times: the server answers with its successor. */
  async function refresh(used) {
    const sent = read();
    if (sent?.text !== used || (!sent && !cookie)) return sent; // another tab was faster
    renewal = new AbortController();
    const limit = setTimeout(() => renewal.abort(), ATTEMPT);
    let next, error;
    try {
      const body = cookie ? {} : { refreshToken: sent.refreshToken };
      next = await obtain("/refresh-token", body, renewal.signal);
    } catch (reason) {
      error = asError(reason);
      if (error.status !== 401) throw error;
    } finally {
      clearTimeout(limit);
    }
    return settle(sent, next, error);
  }

  /**
   * settle stores the next state, unless it comes too late: meanwhile another tab may have signed out, signed in, or got a
   * newer pair without the lock.
   */
  function settle(sent, next, error) {
    const now = read();
    if (now?.text === sent?.text || (next && now && isNewer(next, now))) write(next, error);
    return read();
  }

  async function stepUp(answer, { signal } = {}) {
    const state = await fresh(signal);
    const job = async () => {
      signal?.throwIfAborted();
      try {
        await raise(answer, state);
      } catch (error) {
        if (signal?.aborted || error.code !== "invalid_token") throw error;
        const next = await refresh(read()?.text); // an answer was lost: these were not the newest tokens
        if (signal?.aborted || !(next || cookie)) throw error;
        await raise(answer, state);
      }
    };
    await abortable(locked(job), signal); // the lock stays until the answer is there: see alone
  }

  async function raise(answer, state) {
    const sent = ofSameUser(state, read());
    settle(sent, await obtain("/step-up", { refreshToken: sent?.refreshToken, code: answer }, undefined, sent));
  }

  /** locked runs a job while no other tab runs one. It goes on without the lock of a tab that does not give it back. */
  async function locked(job) {
    const locks = globalThis.navigator?.locks;
    if (!locks) return lockedByStorage(job);
    let began;
    try {
      return await locks.request(shared, { signal: AbortSignal.timeout(cookie ? 4 * LEASE : LEASE) }, () => {
        began = true;
        return job();
      });
    } catch (error) {
      if (began) throw error;
      return job();
    }
  }

  /** lockedByStorage does what locked does, where the browser has no Web Locks: on pages without https. */
  async function lockedByStorage(job) {
    const name = key + ":lock";
    const me = Math.random().toString(36);
    const holder = () => {
      const [id, until] = (storage.getItem(name) ?? "").split(" ");
      const left = until - Date.now();
      return left > 0 && left <= LEASE && id;
    };
    try {
      const end = performance.now() + LEASE;
      while (holder() !== me && performance.now() < end) {
        if (!holder()) storage.setItem(name, me + " " + (Date.now() + LEASE));
        await new Promise((done) => setTimeout(done, 20 + 30 * Math.random())); // a tab that wrote at the same time wins or loses
      }
    } catch {} // a storage that takes nothing is not shared
    try {
      return await job();
    } finally {
      try {
        if (holder() === me) storage.removeItem(name);
      } catch {}
    }
  }

  /** fresh returns the state with an access token that has not expired. Undefined: nobody is signed in. */
  async function fresh(signal) {
    const state = read();
    if (!state) return;
    const { at, life, idle } = state;
    const age = (Date.now() - at) / 1000; // below 0: the clock was put back
    if (age < 0 || age > life - Math.min(5, life / 10)) return ofSameUser(state, await renew(state.text, signal));
    if (age > life - Math.min(60, life / 5) || (age > idle / 2 && age < idle)) renew(state.text).catch(() => {});
    return state;
  }

  async function authorizedFetch(input, init) {
    const request = new Request(input, init);
    if (!trusted.includes(new URL(request.url).origin) || request.headers.has("Authorization")) return send(request);
    const body = init?.body;
    const spare = body?.getReader || body?.[Symbol.asyncIterator] ? undefined : request.clone(); // a stream can be sent only once
    const state = await fresh(request.signal);
    const response = await send(authorize(request, state));
    if (response.status !== 401 || !(state || cookie) || (await isNotAboutTheToken(response))) return response;
    const renewal = renew(state?.text, request.signal);
    const next = await (spare ? renewal : renewal.catch(() => {}));
    if (!spare || !next || next.text === state?.text || isOther(state, next)) return response;
    response.body?.cancel().catch(() => {});
    return send(authorize(spare, next));
  }

  function authorize(request, state) {
    if (cookie) {
      const own = new URL(request.url).origin === globalThis.location?.origin; // its cookies are sent anyway
      return own || request.credentials === "omit" ? request : new Request(request, { credentials: "include" });
    }
    if (state) request.headers.set("Authorization", "Bearer " + state.accessToken);
    return request;
  }

  /** ask sends a request that must succeed, and returns the JSON of its answer. */
  async function ask(path, init) {
    try {
      const response = await authorizedFetch(base + path, { ...init, redirect: "manual" });
      return result(response, await response.text());
    } catch (cause) {
      throw asError(cause, init?.signal);
    }
  }

  // What happens outside of this tab, and to it.

  let channel;
  let hidden = false; // the page goes away
  const on = (target, type, listener) => target?.addEventListener?.(type, listener, { signal: closed.signal, capture: true });
  const listen = () => {
    if (!globalThis.BroadcastChannel || closed.signal.aborted) return;
    channel = new BroadcastChannel(shared);
    channel.onmessage = () => notice();
    channel.unref?.(); // a program in node may end
  };
  /** resume is for a page that has slept: no timer has run, and the tokens may be old, or another tab's. */
  const resume = () => {
    notice();
    fresh().catch(() => {});
  };
  listen();
  on(globalThis, "storage", () => notice());
  on(globalThis, "online", () => {
    offline.forEach((wake) => wake());
  });
  on(globalThis, "pagehide", () => {
    hidden = true; // before the listeners of the page, which may sign out
    channel?.close(); // a page with an open channel may not enter the back/forward cache
    channel = undefined;
  });
  on(globalThis, "pageshow", (event) => {
    hidden = false;
    if (!event.persisted) return;
    listen();
    resume();
  });
  on(globalThis.document, "visibilitychange", () => {
    if (document.visibilityState === "visible") resume();
  });

  return {
    login: (email, password, { remember, signal } = {}) => enter("/login", { email, password, remember }, signal),
    secondStep: (ticket, code, { signal } = {}) => enter("/login/second-step", { ticket, code }, signal),
    setTokens: (answer) => write(stateOf(answer, Date.now())),
    stepUp,
    logout,
    logoutAll,
    profile: (init) => ask("/profile", init),
    ticket: async ({ signal } = {}) => (await ask("/ticket", { method: "POST", signal })).ticket,
    fetch: authorizedFetch,
    accessToken: async ({ signal } = {}) => (await fresh(signal))?.accessToken,
    refresh: async ({ signal } = {}) => Boolean(await renew(read()?.text, signal)),
    subscribe: (listener) => {
      const own = () => listeners.has(own) && listener();
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    close: () => {
      closed.abort();
      channel?.close();
      channel = undefined;
    },
    get signedIn() {
      return Boolean(read());
    },
    get tokens() {
      const state = read();
      if (!state) return;
      const { accessToken, refreshToken } = state;
      return { accessToken, refreshToken, expiresAt: new Date(state.at + 1000 * state.life) };
    },
  };
}

function browserStorage() {
  try {
    const storage = globalThis.localStorage;
    storage.getItem("signet");
    return storage;
  } catch {} // there is none, or the browser forbids it
}

/** text returns what is a text, and seconds what is a time; anything else counts as absent. */
const text = (value) => (typeof value === "string" ? value : undefined);
const seconds = (value) => (value > 0 ? Number(value) : undefined);

/**
 * isNotAboutTheToken tells whether a new token would not help after a 401: the user must give another proof (RFC 9470), or has
 * given a wrong password or code. The same request again would count as a second wrong one.
 */
async function isNotAboutTheToken(response) {
  if (challengeError(response.headers) === ANOTHER_PROOF) return true; // a page of another origin may not see it
  if (!/^application\/problem\+json\b/i.test(response.headers.get("Content-Type"))) return false;
  const { code } = parse(await response.clone().text()) ?? {};
  return [ANOTHER_PROOF, "invalid_credentials", "invalid_code", "invalid_ticket", "second_step_required"].includes(code);
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {}
}

const bad = () => new SignetError("not an answer of the login API", { code: "bad_answer" });

/** asError makes an error of what a fetch has thrown, unless the signal has ended it. */
function asError(cause, signal) {
  signal?.throwIfAborted();
  return cause instanceof SignetError ? cause : new SignetError("the server cannot be reached", { cause });
}

/** result returns the JSON of an answer that is a success, or true for an answer 204, which has none. */
function result(response, body) {
  if (!response.ok) throw failure(response, body);
  const answer = response.status === 204 || parse(body);
  if (!answer) throw bad();
  return answer;
}

/** failure makes an error of an answer that is not a success. */
function failure(response, body) {
  const { status, statusText, headers, type } = response;
  if (type === "opaqueredirect" || (status >= 300 && status < 400)) {
    return new SignetError("the server redirects; correct the baseURL", { status: status || 307, code: "redirected" });
  }
  const { code: own, message, ticket } = parse(body) ?? {};
  const code = text(own) ?? challengeError(headers) ?? "http_" + status; // a host may write bodies of its own
  const after = headers.get("Retry-After");
  const now = Date.parse(headers.get("Date")) || Date.now(); // the server's clock, if the page may see it
  const retryAfter = after ? Math.max(0, Number(after) || (Date.parse(after) - now) / 1000 || 0) : undefined;
  return new SignetError(text(message) || statusText || "status " + status, { status, code, ticket, retryAfter });
}

/** challengeError returns the first error code of the challenges. It skips what is in quotes, such as a description. */
const challengeError = (headers) =>
  headers.get("WWW-Authenticate")?.match(/^(?:"(?:[^"\\]|\\.)*"|[^"])*?[\s,]error\s*=\s*"?([^",]+)/i)?.[1];

/** claims returns the payload of a JWT, without any check: only the server's opinion of a token counts. */
function claims(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  } catch {
    return {};
  }
}

/** userOf returns whose state it is. */
const userOf = (state) => state.who ?? claims(state.refreshToken).sub;

/** isOther tells whether the next state is of another user. It is not, as long as nobody knows of whom the first state is. */
const isOther = (state, next) => state && next && userOf(state) && userOf(state) !== userOf(next);

/** ofSameUser returns the next state. Who acts as one user must not act as another, who has signed in meanwhile. */
function ofSameUser(state, next) {
  if (isOther(state, next)) {
    throw new SignetError("another user signed in", { status: 409, code: "user_changed" });
  }
  return next;
}

/** lifetime returns for how many seconds a JWT was issued. Both times are of the server's clock, so no clock is compared. */
function lifetime(token) {
  token = claims(token);
  return token.exp - token.iat;
}

/** sessionOf returns whose state it is, and of which session. */
const sessionOf = (state) => userOf(state) + " " + claims(state.refreshToken).sid;

/** isNewer tells whether state a is a later generation than b of the same session. */
function isNewer(a, b) {
  const generation = ({ refreshToken }) => claims(refreshToken).gen ?? claims(refreshToken).iat;
  return sessionOf(a) === sessionOf(b) && generation(a) > generation(b);
}

/** abortable gives up waiting for a promise when the signal says so. What was started goes on for others. */
function abortable(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
