/** What a client needs to know, and what may be changed. */
export interface ClientOptions {
  /**
   * The path of the mount, such as "https://shop.example/api/v1/auth" or, in a browser, "/api/v1/auth". In cookie mode it is the path of
   * the mount for browsers.
   */
  baseURL: string | URL;
  /**
   * "bearer" (the default): the client stores the tokens and sends the access token in the Authorization header.
   * "cookie": the tokens are in cookies that no script can read. The storage holds only the user's id and when the access token expires.
   */
  mode?: "bearer" | "cookie";
  /** Further origins whose requests carry the token, such as "https://api.shop.example". The origin of baseURL always does. */
  origins?: string[];
  /**
   * Where the state is kept. The default is localStorage, which all tabs of an origin share; where there is none, the memory. Do not pass
   * sessionStorage: a browser copies it into a duplicated tab, and two copies of one refresh token look like theft.
   */
  storage?: ClientStorage;
  /** For how many seconds new attempts of a renewal or a logout begin while the server is away. The default is 30. */
  patience?: number;
  /**
   * Called once in every tab when its user is not signed in any more. The error is the server's reason when it has refused the refresh
   * token. There is none after a logout, here or in another tab.
   */
  onSignedOut?: (error?: SignetError) => void;
  /** The function that sends requests. The default is the global fetch. */
  fetch?: typeof globalThis.fetch;
}

/** The part of the Web Storage interface that the client uses. */
export interface ClientStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** What a request may be given up by. The promise rejects with the reason of the signal. */
export interface Abortable {
  signal?: AbortSignal | undefined;
}

/** The tokens of the user. */
export interface Tokens {
  /** The access token. It is undefined in cookie mode. */
  accessToken?: string;
  /** The refresh token. It is undefined in cookie mode. */
  refreshToken?: string;
  /** When the access token expires, by the clock of this device. */
  expiresAt: Date;
}

/** A client of one mount. Its functions need no `this`, so they can be passed on alone. */
export interface Client {
  /**
   * Signs in. It rejects with a {@link SignetError}: with the code "invalid_credentials" for a wrong address or password; with the code
   * "second_step_required" and a ticket for {@link Client.secondStep}; with status 429 or 503 and retryAfter when it is too early.
   */
  login(email: string, password: string, options?: Abortable & { remember?: boolean | undefined }): Promise<void>;
  /** Completes a login with the ticket of the error of {@link Client.login} and the user's code. */
  secondStep(ticket: string, code: string, options?: Abortable): Promise<void>;
  /**
   * Signs in with tokens that a page of yours got from the server, after a social login or a magic link: the JSON of the Tokens of Go's
   * Auth.IssueFor. It throws a {@link SignetError} with the code "bad_answer" if the answer has none. In cookie mode use
   * {@link Client.refresh}, also if somebody was signed in before.
   */
  setTokens(answer: { access_token: string; refresh_token: string; expires_in?: number | undefined }): void;
  /**
   * Shows once more who the user is, after an answer 401 whose WWW-Authenticate header says "insufficient_user_authentication": by a code of
   * the second factor or, without one, by the password. Then send the request again. It rejects with a {@link SignetError}, with the code
   * "invalid_code" or "invalid_credentials" for a wrong code or password; the user stays signed in.
   */
  stepUp(codeOrPassword: string, options?: Abortable): Promise<void>;
  /**
   * Signs out in all tabs. It resolves when the server has ended the session. It rejects with a {@link SignetError} when the server was
   * not reached: in bearer mode the tokens are gone from this device all the same; in cookie mode the user is still signed in. In cookie
   * mode it rejects with the code "user_changed" if another user has signed in meanwhile.
   */
  logout(): Promise<void>;
  /**
   * Ends all sessions of the user, on all devices. If it rejects and the user is not signed in any more, this session had ended before, or an
   * answer was lost: sessions of other devices may go on, so sign in and call it again. With the code "user_changed" another user has signed in,
   * who keeps all sessions. After another {@link SignetError} the user is still signed in.
   */
  logoutAll(): Promise<void>;
  /** Returns the user's profile, as the server has it. It rejects with a {@link SignetError} for every answer but success. */
  profile<T = Record<string, unknown>>(options?: Abortable): Promise<T>;
  /**
   * Does what the global fetch does, for the user: it adds the access token to requests to the API's origins, renews the token before it
   * expires, and renews it and repeats the request once after an answer with status 401. It does not repeat a request with a stream as
   * init.body, nor for another user than before. If another user signs in while the request waits for a token, it rejects with the code
   * "user_changed" and is not sent. The answer 401 is returned as it is when nobody is signed in. When the token cannot be renewed now, it rejects with a
   * {@link SignetError}, and the user stays signed in.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /**
   * Returns an access token that has not expired, or undefined if nobody is signed in. In cookie mode it returns undefined, after it has
   * made sure that the cookie has not expired: call it before a connection that is not made by {@link Client.fetch}, such as a WebSocket.
   */
  accessToken(options?: Abortable): Promise<string | undefined>;
  /**
   * Returns a ticket for the URL of a WebSocket or an EventSource, which cannot send a header. It can be used once, within 30 seconds. It
   * rejects with a {@link SignetError} for every answer but success. In cookie mode no ticket is needed.
   */
  ticket(options?: Abortable): Promise<string>;
  /**
   * Renews the tokens now, and tells whether the user is signed in. In cookie mode it also finds out whether the browser has a cookie that
   * a page of the server has set.
   */
  refresh(options?: Abortable): Promise<boolean>;
  /**
   * Calls the listener after each change of {@link Client.tokens}, made by this tab or another, and returns a function that ends this. It
   * fits React: useSyncExternalStore(client.subscribe, () => client.signedIn, () => false).
   */
  subscribe(listener: () => void): () => void;
  /** Ends what the client listens to. A client that is not closed stays in memory. */
  close(): void;
  /** Whether a user is signed in, as far as this device knows. Only the server knows whether the session still lives. */
  readonly signedIn: boolean;
  /** The tokens of the user, or undefined if nobody is signed in. */
  readonly tokens: Tokens | undefined;
}

/** Why a request failed. The answers of signet have no token and no password in their message; that of a proxy is shown as it is. */
export class SignetError extends Error {
  constructor(message: string, details?: Partial<Pick<SignetError, "status" | "code" | "ticket" | "retryAfter">> & ErrorOptions);
  /** The HTTP status of the answer; 0 when there was none, and 409 for "user_changed". */
  readonly status: number;
  /**
   * The code of the server's answer, such as "invalid_credentials". It is "network_error" when there was none, "bad_answer" with the
   * status 0 when it was not one of the login API, "redirected" when it was a redirect (no request to the login API follows one), and
   * "user_changed" when another user has signed in meanwhile. An answer without a code has the error of its challenge
   * (WWW-Authenticate), or "http_" and its status, such as "http_502" of a proxy.
   */
  readonly code: string;
  /** For {@link Client.secondStep}, when the code is "second_step_required". */
  readonly ticket?: string;
  /** After how many seconds a new attempt makes sense, when the server said so. */
  readonly retryAfter?: number;
}

/** Returns a client. It throws a TypeError for options that no client can have. */
export function createClient(options: ClientOptions): Client;

/** Returns a storage for the tokens of one tab. They are gone when the tab closes or loads again. */
export function memoryStorage(): ClientStorage;
