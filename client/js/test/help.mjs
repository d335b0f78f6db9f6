// What most tests begin with.

import assert from "node:assert/strict";

import { Browser, Proxy, john } from "./world.mjs";

/** begin returns a proxy and a browser with tabs. The first tab signs John in. */
export async function begin(t, { tabs = 1, client = {}, tab = {}, signedIn = true, server } = {}) {
  const proxy = await Proxy.start(server);
  const browser = new Browser();
  t.after(() => (browser.close(), proxy.close()));
  for (let i = 0; i < tabs; i++) (await browser.open(tab)).connect(proxy.url, client);
  if (signedIn) await browser.tabs[0].client.login(...john);
  return { proxy, browser, tabs: browser.tabs, clients: browser.tabs.map((each) => each.client), client: browser.tabs[0].client };
}

/** api is the URL of a route of the host behind the proxy. It answers with the method, the user and the body. */
export const api = (proxy) => proxy.origin + "/api/echo";

/** spoil makes the stored access token one that the server refuses. */
export const spoil = (browser) => browser.change({ accessToken: "spoiled" });

/** age makes the stored tokens older, in seconds. */
export const age = (browser, seconds) => browser.change({ at: browser.state.at - seconds * 1000 });

/** succeed wants answers with status 200. */
export async function succeed(...answers) {
  for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200, await answer.clone().text());
}

/** away is an answer of a server that cannot answer now. */
export const away = (seconds) => ({
  status: 503,
  headers: { "Content-Type": "application/json", ...(seconds !== undefined && { "Retry-After": String(seconds) }) },
  body: '{"code":"temporarily_unavailable","message":"temporarily unavailable; try again"}',
});

export const isRefresh = ({ path }) => path.endsWith("/refresh-token");
