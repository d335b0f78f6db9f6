// HTTP clients from npm sign in to the example, each in the way of its own documentation: a login, an answer 401, a refresh, the
// request again; and five requests that all meet 401 at once.
//
// Then the same clients send their requests by the fetch of @signet-go/client, which does all that for them.

import assert from "node:assert/strict";
import test from "node:test";

import { configureStore } from "@reduxjs/toolkit";
import { createApi, fetchBaseQuery } from "@reduxjs/toolkit/query";
import { createClient, memoryStorage } from "@signet-go/client";
import axios from "axios";
import { createAuthRefresh } from "axios-auth-refresh";
import ky from "ky";
import { createFetch, ofetch } from "ofetch";
import request from "supertest";

const api = process.env.SIGNET_URL; // such as http://127.0.0.1:8080/api/v1
if (!api) throw new Error("SIGNET_URL is not set: run `go test -run NPM ./integration/`");

const john = { email: "john@mail.com", password: "changeme" };
const spoiled = "spoiled"; // an access token that the server refuses

/** Session is what an application stores, and how often it has renewed it. */
class Session {
  refreshes = 0;

  take({ access_token, refresh_token, token_type, expires_in }) {
    assert.deepEqual([token_type, typeof expires_in], ["Bearer", "number"]);
    [this.access, this.refresh] = [access_token, refresh_token];
  }
}

/**
 * exercise signs in, spoils the access token, and wants five parallel requests to succeed; twice, because some clients remember too
 * much. An answer 401 that comes after the refresh makes most clients refresh again, with the new token; the server lets them.
 */
async function exercise(t, session, { login, profile, orders, wrong }) {
  await assert.rejects(wrong(), "a wrong password");
  session.take(await login());
  assert.equal((await profile()).email, john.email);
  assert.equal(session.refreshes, 0);
  for (let round = 1; round <= 2; round++) {
    session.access = spoiled;
    const answers = await Promise.all([orders(), orders(), orders(), orders(), orders()]);
    for (const answer of answers) assert.equal(answer.user, "1");
    t.diagnostic(`${session.refreshes} refreshes in round ${round}`);
    assert.ok(session.refreshes >= 1 && session.refreshes <= 5, String(session.refreshes));
    session.refreshes = 0;
    assert.notEqual(session.access, spoiled);
    assert.equal((await profile()).id, 1);
    assert.equal(session.refreshes, 0);
  }
}

test("axios with axios-auth-refresh", async (t) => {
  const session = new Session();
  const http = axios.create({ baseURL: api });
  http.interceptors.request.use((config) => {
    if (session.access) config.headers.Authorization = "Bearer " + session.access;
    return config;
  });
  const refresh = async () => {
    session.refreshes++;
    const { data } = await axios.post(api + "/auth/refresh-token", { refreshToken: session.refresh });
    session.take(data);
  };
  createAuthRefresh(http, refresh, { deduplicateRefresh: false }); // otherwise it fails requests that meet 401 during a refresh
  const plain = { skipAuthRefresh: true };
  await exercise(t, session, {
    wrong: () => http.post("/auth/login", { ...john, password: "wrong" }, plain),
    login: async () => (await http.post("/auth/login", john, plain)).data,
    profile: async () => (await http.get("/auth/profile")).data,
    orders: async () => (await http.get("/orders")).data,
  });
});

test("ky", async (t) => {
  const session = new Session();
  let refreshing;
  const refresh = async () => {
    session.refreshes++;
    session.take(await ky.post(api + "/auth/refresh-token", { json: { refreshToken: session.refresh } }).json());
  };
  const http = ky.extend({
    prefixUrl: api,
    hooks: {
      beforeRequest: [(request) => request.headers.set("Authorization", "Bearer " + session.access)],
      afterResponse: [
        async (request, options, response) => {
          if (response.status !== 401) return;
          refreshing ??= refresh().finally(() => (refreshing = undefined));
          await refreshing;
          request.headers.set("Authorization", "Bearer " + session.access);
          return ky(request);
        },
      ],
    },
  });
  await exercise(t, session, {
    wrong: () => ky.post(api + "/auth/login", { json: { ...john, password: "wrong" } }),
    login: () => ky.post(api + "/auth/login", { json: john }).json(),
    profile: () => http.get("auth/profile").json(),
    orders: () => http.get("orders").json(),
  });
});

test("ofetch", async (t) => {
  const session = new Session();
  let refreshing;
  const refresh = async () => {
    session.refreshes++;
    session.take(await ofetch(api + "/auth/refresh-token", { method: "POST", body: { refreshToken: session.refresh } }));
  };
  const http = ofetch.create({
    baseURL: api,
    retry: 1,
    retryStatusCodes: [401],
    onRequest({ options }) {
      options.headers.set("Authorization", "Bearer " + session.access);
    },
    async onResponseError({ response }) {
      if (response.status !== 401) return;
      refreshing ??= refresh().finally(() => (refreshing = undefined));
      await refreshing;
    },
  });
  await exercise(t, session, {
    wrong: () => ofetch(api + "/auth/login", { method: "POST", body: { ...john, password: "wrong" } }),
    login: () => ofetch(api + "/auth/login", { method: "POST", body: john }),
    profile: () => http("/auth/profile"),
    orders: () => http("/orders"),
  });
});

/** shop is an API of RTK Query. */
function shop(baseQuery) {
  const slice = createApi({
    baseQuery,
    endpoints: (build) => ({
      login: build.mutation({ query: (body) => ({ url: "auth/login", method: "POST", body }) }),
      profile: build.query({ query: () => "auth/profile" }),
      orders: build.query({ query: (page) => "orders?page=" + page }),
    }),
  });
  const store = configureStore({
    reducer: { [slice.reducerPath]: slice.reducer },
    middleware: (defaults) => defaults().concat(slice.middleware),
  });
  let page = 0; // a query of its own each time: RTK Query makes equal ones once
  const query = (endpoint, argument) => store.dispatch(slice.endpoints[endpoint].initiate(argument, { forceRefetch: true })).unwrap();
  return {
    login: (body) => store.dispatch(slice.endpoints.login.initiate(body)).unwrap(),
    profile: () => query("profile"),
    orders: () => query("orders", page++),
  };
}

test("RTK Query", async (t) => {
  const session = new Session();
  const plain = fetchBaseQuery({
    baseUrl: api,
    prepareHeaders: (headers) => (session.access && headers.set("Authorization", "Bearer " + session.access)) || headers,
  });
  let refreshing;
  const refresh = async (api, options) => {
    session.refreshes++;
    const body = { refreshToken: session.refresh };
    const { data } = await plain({ url: "auth/refresh-token", method: "POST", body }, api, options);
    session.take(data);
  };
  const http = shop(async (args, api, options) => {
    const result = await plain(args, api, options);
    if (result.error?.status !== 401 || args.url) return result;
    refreshing ??= refresh(api, options).finally(() => (refreshing = undefined));
    await refreshing;
    return plain(args, api, options);
  });
  await exercise(t, session, {
    ...http,
    wrong: () => http.login({ ...john, password: "wrong" }),
    login: () => http.login(john),
  });
});

test("supertest", async (t) => {
  const session = new Session();
  const agent = request.agent(api);
  let refreshing;
  const refresh = async () => {
    session.refreshes++;
    const answer = await agent.post("/auth/refresh-token").send({ refreshToken: session.refresh }).expect(201);
    session.take(answer.body);
  };
  const get = async (path) => {
    const send = () => agent.get(path).auth(session.access, { type: "bearer" });
    let answer = await send();
    if (answer.status === 401) {
      assert.match(answer.headers["www-authenticate"], /^Bearer .*error="invalid_token"/);
      assert.equal(answer.type, "application/problem+json");
      refreshing ??= refresh().finally(() => (refreshing = undefined));
      await refreshing;
      answer = await send();
    }
    assert.equal(answer.status, 200);
    return answer.body;
  };
  await exercise(t, session, {
    wrong: () => agent.post("/auth/login").send({ ...john, password: "wrong" }).expect(201),
    login: async () => (await agent.post("/auth/login").send(john).expect(201).expect("Content-Type", /json/)).body,
    profile: () => get("/auth/profile"),
    orders: () => get("/orders"),
  });
  await agent.post("/auth/logout").auth(session.access, { type: "bearer" }).expect(204);
});

// The same clients on client.fetch.

for (const [name, connect] of Object.entries({
  "the global fetch": (fetch) => async (path) => {
    const response = await fetch(api + path);
    assert.ok(response.ok, String(response.status));
    return response.json();
  },
  axios: (fetch) => {
    const http = axios.create({ baseURL: api, adapter: "fetch", env: { fetch } });
    return async (path) => (await http.get(path)).data;
  },
  ky: (fetch) => {
    const http = ky.create({ prefixUrl: api, fetch });
    return (path) => http.get(path.slice(1)).json();
  },
  ofetch: (fetch) => createFetch({ fetch, defaults: { baseURL: api } }),
  "RTK Query": (fetch) => {
    const http = shop(fetchBaseQuery({ baseUrl: api, fetchFn: fetch }));
    return (path) => (path === "/orders" ? http.orders() : http.profile());
  },
})) {
  test(name + " on the fetch of @signet-go/client", async () => {
    let refreshes = 0;
    const storage = memoryStorage();
    const count = (url, init) => {
      if (String(url).endsWith("/refresh-token")) refreshes++;
      return fetch(url, init);
    };
    const client = createClient({ baseURL: api + "/auth", storage, fetch: count });
    const get = connect(client.fetch);
    await assert.rejects(get("/orders"), "nobody is signed in");
    await client.login(john.email, john.password);
    assert.equal((await get("/auth/profile")).email, john.email);
    const key = "signet:" + api + "/auth";
    storage.setItem(key, JSON.stringify({ ...JSON.parse(storage.getItem(key)), accessToken: spoiled }));
    const answers = await Promise.all([1, 2, 3, 4, 5].map(() => get("/orders")));
    for (const { user } of answers) assert.equal(user, "1");
    assert.equal(refreshes, 1);
    await client.logout();
    await assert.rejects(get("/orders"), "the user has signed out");
    client.close();
  });
}
