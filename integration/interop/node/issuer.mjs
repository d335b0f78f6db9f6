// Runs node-oidc-provider on a free loopback port until standard input ends. The first line that it writes is {"issuer"}.
//
// The client "client" with the secret "client-secret" gets access tokens by the grant client_credentials. The resource
// https://api.example/ALGORITHM gets JSON Web Tokens (RFC 9068) that are signed with that algorithm.

import { createServer } from 'node:http';

import * as jose from 'jose';
import Provider, { errors } from 'oidc-provider';

const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA', 'Ed25519'];
const scope = 'orders:read orders:write';

async function jwk(alg, use) {
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { ...(await jose.exportJWK(privateKey)), alg, use, kid: `${alg}-1` };
}

const keys = await Promise.all([...algorithms.map((alg) => jwk(alg, 'sig')), jwk('RSA-OAEP-256', 'enc'), jwk('ECDH-ES', 'enc')]);

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys },
  scopes: scope.split(' '),
  enabledJWA: { idTokenSigningAlgValues: algorithms },
  clients: [
    {
      client_id: 'client',
      client_secret: 'client-secret',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope,
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    encryption: { enabled: true }, // so that the key set holds keys for encryption too
    requestObjects: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(ctx, resource) {
        const alg = algorithms.find((known) => resource === `https://api.example/${known}`);
        if (!alg) throw new errors.InvalidTarget();
        return { scope, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg } } };
      },
    },
  },
});
server.on('request', provider.callback());

process.stdout.write(`${JSON.stringify({ issuer })}\n`);
process.stdin.on('end', () => process.exit(0)).resume();
