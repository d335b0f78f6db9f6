// Verifies tokens with npm packages. It reads one request a line from standard input, as JSON, and writes one answer a line. It ends
// when the input ends.
//
// A request is {"library", "verifier", "token", "jwks" or "secret" (base64), "issuer", "audience", "algorithms", "options"}. Requests with
// the same "verifier" share one verifier, with all that it remembers of the key set. The options are "typ", the token type to ask
// for, "cooldown", the milliseconds between two fetches of the key set, and "discover", to find the key set by the issuer's metadata.
//
// An answer is {"claims"} for a token that was accepted, {"refused"} with the library's own words, or {"broken"} when the request could
// not be carried out. The first line is {"versions"}.

import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import * as fastJwt from 'fast-jwt';
import buildGetJwks from 'get-jwks';
import * as jose from 'jose';
import jsonwebtoken from 'jsonwebtoken';
import jwksRsa from 'jwks-rsa';

// Each library makes a verifier of a request: a function that takes a token and returns its claims, or throws.
const libraries = {
  jose(request) {
    const key = request.secret
      ? Buffer.from(request.secret, 'base64')
      : jose.createRemoteJWKSet(new URL(request.jwks), { cooldownDuration: request.options.cooldown });
    const options = { issuer: request.issuer, audience: request.audience, algorithms: request.algorithms, typ: request.options.typ };
    return async (token) => (await jose.jwtVerify(token, key, options)).payload;
  },

  'jsonwebtoken + jwks-rsa'(request) {
    const client = request.jwks && jwksRsa({ jwksUri: request.jwks });
    const key = request.secret
      ? Buffer.from(request.secret, 'base64')
      : (header, done) => {
          client.getSigningKey(header.kid).then((found) => done(null, found.getPublicKey()), done);
        };
    const options = { issuer: request.issuer, audience: request.audience, algorithms: request.algorithms };
    return (token) =>
      new Promise((resolve, reject) => {
        jsonwebtoken.verify(token, key, options, (err, claims) => (err ? reject(err) : resolve(claims)));
      });
  },

  'fast-jwt + get-jwks'(request) {
    const at = request.jwks && new URL(request.jwks);
    const place = request.options.discover ? { providerDiscovery: true } : { jwksPath: at?.pathname };
    const getJwks = at && buildGetJwks({ ...place, issuersWhitelist: [at.origin] });
    const key = request.secret
      ? Buffer.from(request.secret, 'base64')
      : async ({ header }) => {
          const wanted = { domain: at.origin, alg: header.alg, kid: header.kid };
          if (header.alg !== 'EdDSA') return getJwks.getPublicKey(wanted);
          // getPublicKey does not know keys of the type OKP; getJwk does.
          return createPublicKey({ key: await getJwks.getJwk(wanted), format: 'jwk' }).export({ type: 'spki', format: 'pem' });
        };
    return fastJwt.createVerifier({
      key,
      algorithms: request.algorithms,
      allowedIss: request.issuer,
      allowedAud: request.audience,
      checkTyp: request.options.typ,
      requiredClaims: ['iss', 'aud', 'exp'],
    });
  },
};

const verifiers = new Map();

async function answer(request) {
  const library = libraries[request.library];
  if (!library) return { broken: `there is no library ${request.library}` };
  let verify = verifiers.get(request.verifier);
  if (!verify) {
    verify = library({ options: {}, ...request });
    verifiers.set(request.verifier, verify);
  }
  try {
    return { claims: await verify(request.token) };
  } catch (err) {
    // fast-jwt keeps what get-jwks says in originalError.
    return { refused: [err.name, err.code, err.claim, err.message, err.originalError?.message].filter(Boolean).join(': ') };
  }
}

function versions() {
  const list = { node: process.versions.node };
  for (const name of Object.keys(JSON.parse(readFileSync(new URL('package.json', import.meta.url))).dependencies)) {
    list[name] = JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
  }
  return list;
}

const write = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

write({ versions: versions() });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    write(await answer(JSON.parse(line)));
  } catch (err) {
    write({ broken: String(err) });
  }
}
process.exit(0);
