// Uses every declared name of @signet-go/client. tsc checks it, and node runs it: so a name that is declared is there.

import { SignetError, createClient, memoryStorage } from "@signet-go/client";

/** @import { Client, ClientOptions, ClientStorage, Tokens } from "@signet-go/client" */

/** @type {Required<ClientOptions>} */
const options = {
  baseURL: "http://127.0.0.1/auth",
  mode: "bearer",
  origins: ["http://127.0.0.1:8080"],
  storage: memoryStorage(),
  patience: 5,
  onSignedOut: (error) => error?.retryAfter?.toFixed(),
  fetch: globalThis.fetch,
};
const client = createClient(options);
createClient({ baseURL: new URL("http://127.0.0.1/auth"), mode: "cookie" }).close();

/** @type {Record<keyof Client, string>} */
const members = {
  login: "function",
  secondStep: "function",
  setTokens: "function",
  stepUp: "function",
  logout: "function",
  logoutAll: "function",
  profile: "function",
  fetch: "function",
  accessToken: "function",
  ticket: "function",
  refresh: "function",
  subscribe: "function",
  close: "function",
  signedIn: "boolean",
  tokens: "undefined",
};
/** @param {string} what */
const fail = (what) => {
  throw new Error(what + " is not as declared");
};
for (const [name, type] of Object.entries(members)) {
  if (typeof client[/** @type {keyof Client} */ (name)] !== type) fail(name);
}
for (const name of Object.keys(client)) if (!(name in members)) fail(name);

const error = new SignetError("slowly", { status: 429, code: "too_many_attempts", retryAfter: 7, ticket: "t", cause: new Error() });
/** @type {[number, string, string | undefined, number | undefined]} */
const details = [error.status, error.code, error.ticket, error.retryAfter];
if (details.join() !== "429,too_many_attempts,t,7" || error.message !== "slowly" || !(error instanceof Error)) fail("SignetError");

/** use is only checked. It holds what an application would write. */
export async function use() {
  const { signal } = new AbortController();
  await client.login("john@mail.com", "changeme", { remember: true, signal });
  await client.secondStep("ticket", "123456", { signal });
  client.setTokens({ access_token: "a", refresh_token: "b", expires_in: 60 });
  await client.stepUp("123456", { signal });
  /** @type {string} */
  const ticket = await client.ticket({ signal });
  /** @type {{ name: string }} */
  const profile = await client.profile({ signal });
  const response = await client.fetch(new URL("http://127.0.0.1/orders"), { method: "POST", body: profile.name });
  /** @type {string | undefined} */
  const token = await client.accessToken({ signal });
  /** @type {boolean} */
  const renewed = await client.refresh();
  /** @type {() => void} */
  const end = client.subscribe(() => client.signedIn);
  end();
  /** @type {Tokens | undefined} */
  const tokens = client.tokens;
  /** @type {ClientStorage} */
  const storage = globalThis.localStorage;
  /** @type {typeof globalThis.fetch} */
  const fetchOfOthers = client.fetch;
  // @ts-expect-error there is no such mode
  createClient({ baseURL: "/", mode: "basic" });
  // @ts-expect-error a client needs a URL
  createClient({});
  // @ts-expect-error a login needs a password
  client.login("john@mail.com");
  // @ts-expect-error nobody but the client signs in
  client.signedIn = true;
  client.close();
  return [response, token, ticket, renewed, tokens?.expiresAt.getTime(), storage, fetchOfOthers, await client.logout(), await client.logoutAll()];
}

client.close();
