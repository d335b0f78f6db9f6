// A small browser for the tests: tabs that share a storage, channels and locks, each with the module loaded anew and with a clock, a
// document and events of its own. Requests are real and go through a real proxy, which can lose and refuse them.
//
// node needs --experimental-vm-modules, by which each tab is a realm of its own.

import { readFileSync } from "node:fs";
import http from "node:http";
import vm from "node:vm";

const source = readFileSync(new URL("../signet.js", import.meta.url), "utf8");

/** The mount of the server under test, without a slash at its end. The server is started by a Go test. */
export const server = process.env.SIGNET_URL;
if (!server) throw new Error("SIGNET_URL is not set: run `go test -run JavaScriptClient ./integration/`");

export const john = ["john@mail.com", "changeme"];

/** sleep waits for real time to pass. */
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** until waits for something to become true. */
export async function until(condition, what = condition.toString()) {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not happen within 10 s: " + what);
    await sleep(5);
  }
}

/** Locks are Web Locks as far as the client uses them: https://w3c.github.io/web-locks/. node has them only since version 24. */
class Locks {
  #queues = new Map();
  granted = 0;

  async request(name, { signal }, callback) {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    await new Promise((grant, fail) => {
      queue.push(grant);
      if (queue.length === 1) grant();
      signal?.addEventListener("abort", () => {
        if (queue[0] === grant) return;
        queue.splice(queue.indexOf(grant), 1);
        fail(signal.reason);
      });
    });
    try {
      this.granted++;
      return await callback({ name, mode: "exclusive" });
    } finally {
      queue.shift();
      queue[0]?.();
    }
  }
}

/** A Jar keeps cookies, as far as the server sets them (RFC 6265), and sends them with requests whose credentials are included. */
class Jar {
  cookies = new Map(); // {value, path} by name

  async fetch(...args) {
    const request = new Request(...args);
    const { pathname } = new URL(request.url);
    const included = request.credentials === "include";
    const sent = [...this.cookies].filter(([, { path }]) => pathname === path || pathname.startsWith(path.replace(/\/?$/, "/")));
    if (included && sent.length) request.headers.set("Cookie", sent.map(([name, { value }]) => name + "=" + value).join("; "));
    const response = await fetch(request);
    if (included) for (const line of response.headers.getSetCookie()) this.#take(line);
    return response;
  }

  #take(line) {
    const [pair, ...attributes] = line.split(/; */);
    const [name, value] = pair.split(/=(.*)/s);
    const of = (wanted) => attributes.map((text) => text.split("=")).find(([key]) => key.toLowerCase() === wanted)?.[1];
    if (Number(of("max-age") ?? 1) <= 0 || new Date(of("expires") ?? 8.64e15) <= new Date()) this.cookies.delete(name);
    else this.cookies.set(name, { value, path: of("path") ?? "/", line });
  }

  /** named returns the only cookie with such a name. */
  named(part) {
    const [name, ...others] = [...this.cookies.keys()].filter((each) => each.includes(part));
    if (!name || others.length) throw new Error("cookies: " + [...this.cookies.keys()]);
    return name;
  }
}

/** A browser has a storage and cookies that all its tabs share. */
export class Browser {
  jar = new Jar();
  items = new Map();
  locks = new Locks();
  tabs = [];
  forbidden = false; // the storage throws
  room = Infinity; // characters in the storage

  /** open opens a tab. Without Web Locks it is a tab of a page without https; without channels it is an old browser. */
  async open({ locks = true, channels = true, cookies = false } = {}) {
    const fetch = cookies ? (...request) => this.jar.fetch(...request) : globalThis.fetch;
    const tab = new Tab(this, { locks, channels, fetch });
    await tab.load();
    this.tabs.push(tab);
    return tab;
  }

  close() {
    for (const tab of this.tabs) tab.client?.close();
  }

  storageOf(tab) {
    const checked = (act) => {
      if (this.forbidden) throw new DOMException("the storage is forbidden", "SecurityError");
      return act();
    };
    const set = (key, value) => {
      const others = [...this.items].filter(([name]) => name !== key).flat();
      if ([...others, key, value].join("").length > this.room) throw new DOMException("the storage is full", "QuotaExceededError");
      this.items.set(key, value);
    };
    const tell = (key) => {
      for (const other of this.tabs) if (other !== tab) setTimeout(() => other.dispatch("storage", { key }));
    };
    return {
      getItem: (key) => checked(() => this.items.get(key) ?? null),
      setItem: (key, value) => checked(() => (set(key, String(value)), tell(key))),
      removeItem: (key) => checked(() => (this.items.delete(key), tell(key))),
    };
  }

  /** state is what the client has stored. */
  get state() {
    const [text] = [...this.items].filter(([key]) => !key.endsWith(":lock")).map(([, value]) => value);
    return text && JSON.parse(text);
  }

  /** change changes what the client has stored, behind its back. */
  change(fields) {
    for (const [key, text] of this.items) this.items.set(key, JSON.stringify({ ...JSON.parse(text), ...fields }));
  }
}

class Tab {
  skew = 0; // milliseconds that this tab's clock is ahead
  events = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  signedOut = []; // the calls of onSignedOut
  changes = 0;

  constructor(browser, options) {
    const tab = this;
    class TabDate extends Date {
      constructor(...args) {
        super(...(args.length ? args : [TabDate.now()]));
      }
      static now = () => Date.now() + tab.skew;
    }
    const { AbortController, AbortSignal, Headers, Request, Response, URL, DOMException, ReadableStream } = globalThis;
    const { performance, setTimeout, clearTimeout, queueMicrotask, atob } = globalThis;
    this.global = vm.createContext({
      ...{ AbortController, AbortSignal, Headers, Request, Response, URL, DOMException, ReadableStream },
      ...{ performance, setTimeout, clearTimeout, queueMicrotask, atob, console },
      Date: TabDate,
      fetch: (...request) => options.fetch(...request),
      localStorage: browser.storageOf(this),
      document: this.document,
      location: { href: "https://shop.example/" },
      navigator: options.locks ? { locks: browser.locks } : {},
      // node forgets the signals of all listeners of a target but the last one when it collects garbage.
      addEventListener: (type, listener, { signal, ...options } = {}) => {
        this.events.addEventListener(type, listener, options);
        signal?.addEventListener("abort", () => this.events.removeEventListener(type, listener, options));
      },
      ...(options.channels && { BroadcastChannel }),
    });
  }

  async load() {
    const module = new vm.SourceTextModule(source, { context: this.global, identifier: "signet.js" });
    await module.link(() => {});
    await module.evaluate();
    this.module = module.namespace;
  }

  /** connect makes the tab's client. */
  connect(baseURL, options = {}) {
    this.client = this.module.createClient({ baseURL, onSignedOut: (error) => this.signedOut.push(error), ...options });
    this.client.subscribe(() => this.changes++);
    return this.client;
  }

  dispatch(type, fields = {}) {
    const target = type === "visibilitychange" ? this.document : this.events;
    target.dispatchEvent(Object.assign(new Event(type), fields));
  }
}

/**
 * A proxy in front of the server. rule decides about each request: it returns nothing to pass it on; "lose" to pass it on and to lose the
 * answer; "refuse" to end the connection; or {status, headers, body} to answer in the server's place.
 */
export class Proxy {
  seen = []; // {method, path, status} of each request that came
  bodies = [];
  rule = () => {};

  static async start(target = server) {
    const proxy = new Proxy();
    const upstream = new URL(target);
    proxy.http = http.createServer((request, response) => proxy.#serve(upstream, request, response));
    await new Promise((done) => proxy.http.listen(0, "127.0.0.1", done));
    proxy.origin = "http://127.0.0.1:" + proxy.http.address().port;
    proxy.url = proxy.origin + upstream.pathname.replace(/\/$/, "");
    return proxy;
  }

  /** count tells how many requests to a path came. */
  count(path) {
    return this.seen.filter((entry) => entry.path.endsWith(path)).length;
  }

  async #serve(upstream, request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const entry = { method: request.method, path: request.url, headers: request.headers, body: body.toString() };
    this.seen.push(entry);
    const verdict = await this.rule(entry);
    if (verdict === "refuse") return request.socket.destroy();
    if (verdict?.status) {
      response.writeHead(verdict.status, verdict.headers);
      return response.end(verdict.body);
    }
    const { method, headers, url: path } = request;
    const forward = http.request({ host: upstream.hostname, port: upstream.port, method, path, headers }, (answer) => {
      entry.status = answer.statusCode;
      if (verdict === "lose") {
        answer.resume();
        answer.on("end", () => request.socket.destroy());
        return;
      }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    forward.on("error", () => request.socket.destroy());
    forward.end(body);
  }

  close() {
    this.http.closeAllConnections();
    this.http.close();
  }
}
