// SPDX-License-Identifier: Apache-2.0
// oauth_server.js SETTINGS: an OAuth server (npm's oidc-provider) and a resource that takes its tokens only, by HTTP and,
// with a certificate, by HTTPS. SETTINGS is a file in JSON; tests/harness/oauth_server.py writes it and knows its fields.
//
//   POST /oauth/token, /token     the token end point
//   /jwks, /.well-known/…         as oidc-provider has them; /token_keys is XSUAA's name of /jwks
//   /resource/…                   any method: 200 with what was seen, or 401
//   GET /control/requests         every token request: client, grant, how the client proved itself, fields, status
//   GET /control/tokens           all tokens: {client: [token, ...]}
//   PUT /control/behaviour        {client: {lifetime, expires_in, delay, fault}}; replaces what was set before
//   POST /control/revoke          {"client": "c1"}: its tokens are not valid any more
const { createHash, X509Certificate } = require("node:crypto");
const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { pathToFileURL } = require("node:url");
const jose = require("jose");

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { issuer } = settings;
const TOKEN_PATHS = ["/oauth/token", "/token"];
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const CUSTOM_GRANTS = {
  password: ["username", "password"],
  [JWT_BEARER]: ["assertion"],
  [TOKEN_EXCHANGE]: ["subject_token", "subject_token_type", "requested_token_type", "audience"],
};

const clients = Object.fromEntries(settings.clients.map((client) => [client.id, client]));
const requests = [];
const tokens = {}; // client -> texts of its tokens
const revoked = new Set();
let behaviour = {};
let provider;
let ownKeys;

const certificateOf = (socket) => socket.getPeerX509Certificate?.();

// What the client registered, in oidc-provider's words.
function metadata(client) {
  const methods = { basic: "client_secret_basic", form: "client_secret_post", tls: "tls_client_auth", self_signed: "self_signed_tls_client_auth" };
  const own = client.certificate && new X509Certificate(readFileSync(client.certificate));
  return {
    client_id: client.id,
    client_secret: client.secret,
    token_endpoint_auth_method: methods[client.auth],
    grant_types: ["client_credentials", ...Object.keys(CUSTOM_GRANTS)],
    redirect_uris: [],
    response_types: [],
    ...(client.auth === "tls" ? { tls_client_auth_subject_dn: own.subject } : {}),
    ...(client.auth === "self_signed" ? { jwks: { keys: [{ ...own.publicKey.export({ format: "jwk" }), x5c: [own.raw.toString("base64")] }] } } : {}),
  };
}

const lifetimeOf = (client) => behaviour[client.clientId]?.lifetime ?? clients[client.clientId].lifetime ?? 600;

async function configuration() {
  const { privateKey } = await jose.generateKeyPair("RS256", { extractable: true });
  const key = { ...(await jose.exportJWK(privateKey)), kid: "oauth-1", use: "sig", alg: "RS256" };
  ownKeys = jose.createLocalJWKSet({ keys: [{ kty: key.kty, n: key.n, e: key.e, kid: key.kid, use: "sig", alg: "RS256" }] });
  return {
    clients: settings.clients.map(metadata),
    jwks: { keys: [key] },
    clientAuthMethods: ["client_secret_basic", "client_secret_post", "tls_client_auth", "self_signed_tls_client_auth"],
    routes: { token: TOKEN_PATHS[0] },
    scopes: ["openid", "read", "write"],
    ttl: { ClientCredentials: (_, token, client) => lifetimeOf(client), AccessToken: (_, token, client) => lifetimeOf(client) },
    extraTokenClaims: (ctx, token) => clients[token.clientId].claims,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        // Tokens without a resource are opaque, as most servers make them; those of a JWT client name its audience.
        defaultResource: (ctx, client) => (clients[client.clientId].format === "jwt" ? "urn:culvert" : undefined),
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource, client) => ({
          scope: "read write",
          audience: clients[client.clientId].audience ?? "culvert",
          accessTokenTTL: lifetimeOf(client),
          accessTokenFormat: "jwt",
        }),
      },
      mTLS: {
        enabled: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        getCertificate: (ctx) => certificateOf(ctx.socket),
        certificateAuthorized: (ctx) => ctx.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => certificateOf(ctx.socket).subject === expected,
      },
    },
  };
}

// oidc-provider has no grant with somebody else's token: these check it and issue a token of its subject.
async function subjectOf(params, errors) {
  if (params.grant_type === "password") {
    const known = settings.users[params.username];
    if (known === undefined || known !== params.password) throw new errors.InvalidGrant("user or password");
    return params.username;
  }
  if (params.grant_type === TOKEN_EXCHANGE && params.subject_token_type !== "urn:ietf:params:oauth:token-type:access_token"
      && params.subject_token_type !== "urn:ietf:params:oauth:token-type:jwt") {
    throw new errors.InvalidRequest("subject_token_type");
  }
  const text = params.assertion ?? params.subject_token;
  if (!text) throw new errors.InvalidRequest("a token is missing");
  const trusted = settings.trusted && jose.createLocalJWKSet(settings.trusted);
  for (const keys of [ownKeys, trusted].filter(Boolean)) {
    try {
      return (await jose.jwtVerify(text, keys)).payload.sub;
    } catch {
      // The next set may know its key.
    }
  }
  throw new errors.InvalidGrant("the token is not valid");
}

function addGrants(errors) {
  for (const [name, parameters] of Object.entries(CUSTOM_GRANTS)) {
    provider.registerGrantType(name, async (ctx, next) => {
      const { client, params } = ctx.oidc;
      const accountId = await subjectOf(params, errors);
      const token = new provider.AccessToken({ client, accountId, grantId: "none", gty: name, scope: params.scope });
      if (clients[client.clientId].format === "jwt") {
        token.resourceServer = new provider.ResourceServer("urn:culvert", {
          scope: "read write", audience: clients[client.clientId].audience ?? "culvert", accessTokenFormat: "jwt",
        });
      }
      ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: "Bearer" };
      if (name === TOKEN_EXCHANGE) ctx.body.issued_token_type = "urn:ietf:params:oauth:token-type:access_token";
      await next();
    }, [...parameters, "scope"]);
  }
}

async function readAll(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces);
}

function reply(response, status, content, headers = {}) {
  const text = JSON.stringify(content);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text), ...headers });
  response.end(text);
}

// Who asks, and how it says so.
function claimed(request, fields) {
  const [, basic] = (request.headers.authorization ?? "").match(/^basic (.*)$/i) ?? [];
  if (basic !== undefined) {
    return ["basic", decodeURIComponent(Buffer.from(basic, "base64").toString().split(":")[0].replaceAll("+", " "))];
  }
  if (fields.client_secret !== undefined) return ["form", fields.client_id];
  return [certificateOf(request.socket) ? "certificate" : "nothing", fields.client_id];
}

// Culvert must not repeat any of the text in an error: tests look for it.
const FAULTS = {
  500: (response) => reply(response, 500, { error: "server_error", error_description: "CANARY-DESCRIPTION" }),
  503: (response) => reply(response, 503, "CANARY-BODY", { "Retry-After": "1" }),
  garbage: (response) => reply(response, 200, ["CANARY-BODY"]),
  html: (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<html>CANARY-BODY</html>"),
  no_token: (response) => reply(response, 200, { token_type: "Bearer", expires_in: 600 }),
  bad_token: (response) => reply(response, 200, { access_token: "a\r\nX-Injected: 1", token_type: "Bearer" }),
  endless: (response) => {
    response.writeHead(200, { "Content-Type": "application/json" });
    const more = () => {
      while (!response.destroyed && response.write(" ".repeat(65536)));
    };
    response.on("drain", more);
    more();
  },
  reset: (response) => response.socket.resetAndDestroy(),
  redirect: (response) => response.writeHead(307, { Location: `http://localhost:${settings.port}/token`, "Content-Length": 0 }).end(),
  hang: () => {},
};

async function answerTokenRequest(request, response) {
  const body = await readAll(request);
  const fields = Object.fromEntries(new URLSearchParams(body.toString()));
  let by, client;
  try {
    [by, client] = claimed(request, fields);
  } catch {
    [by, client] = ["malformed", "?"];
  }
  const url = new URL(request.url, issuer);
  const seen = { client, by, grant: fields.grant_type, fields, query: url.search, headers: request.headers, secure: Boolean(request.socket.encrypted), status: 0 };
  requests.push(seen);
  response.on("finish", () => {
    seen.status = response.statusCode;
  });
  const { delay, fault, expires_in: expiresIn } = behaviour[client] ?? {};
  if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
  if (fault) return FAULTS[fault](response);
  // oidc-provider knows one path, and takes a body that was read before.
  request.url = TOKEN_PATHS[0] + url.search;
  request.body = fields;
  request.expiresIn = expiresIn;
  return provider.callback()(request, response);
}

// Notes each token, and says what its client was told to say of its lifetime.
async function noteTokens(ctx, next) {
  await next();
  if (ctx.oidc?.route !== "token" || ctx.status !== 200) return;
  (tokens[ctx.oidc.client.clientId] ??= []).push(ctx.body.access_token);
  const { expiresIn } = ctx.req;
  if (expiresIn === false) delete ctx.body.expires_in;
  else if (expiresIn !== undefined) ctx.body.expires_in = expiresIn;
}

// The client of a valid token.
async function clientOf(text) {
  if (revoked.has(text)) return undefined;
  if (text.split(".").length === 3) {
    try {
      return (await jose.jwtVerify(text, ownKeys, { issuer })).payload.client_id;
    } catch {
      return undefined;
    }
  }
  const found = (await provider.ClientCredentials.find(text)) ?? (await provider.AccessToken.find(text));
  return found?.isValid ? found.clientId : undefined;
}

async function answerResource(request, response) {
  const [, token] = (request.headers.authorization ?? "").match(/^Bearer (.+)$/) ?? [];
  const client = token && (await clientOf(token));
  if (!client) {
    const challenge = token ? 'Bearer error="invalid_token"' : "Bearer";
    reply(response, 401, { error: "invalid_token" }, { "WWW-Authenticate": challenge });
    return request.resume();
  }
  const hash = createHash("sha256");
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    hash.update(piece);
  }
  const url = new URL(request.url, issuer);
  return reply(response, 200, { client, method: request.method, path: url.pathname, query: url.search, fields: request.headers, size, sha256: hash.digest("hex") });
}

async function answerControl(request, response) {
  const body = await readAll(request);
  const what = `${request.method} ${request.url}`;
  if (what === "GET /control/requests") return reply(response, 200, requests);
  if (what === "GET /control/tokens") return reply(response, 200, tokens);
  if (what === "PUT /control/behaviour") {
    behaviour = JSON.parse(body);
    return reply(response, 200, behaviour);
  }
  if (what === "POST /control/revoke") {
    for (const text of tokens[JSON.parse(body).client] ?? []) revoked.add(text);
    return reply(response, 200, revoked.size);
  }
  return reply(response, 404, "not a control");
}

async function answer(request, response) {
  const path = request.url.split("?")[0];
  if (path.startsWith("/control/")) return answerControl(request, response);
  if (path.startsWith("/resource")) return answerResource(request, response);
  if (TOKEN_PATHS.includes(path)) return answerTokenRequest(request, response);
  if (path === "/token_keys") request.url = "/jwks";
  return provider.callback()(request, response);
}

async function main() {
  const { Provider, errors } = await import(pathToFileURL(require.resolve("oidc-provider")).href);
  provider = new Provider(issuer, await configuration());
  provider.proxy = false;
  addGrants(errors);
  provider.use(noteTokens);
  provider.on("server_error", (ctx, error) => console.error(error));
  provider.on("grant.error", (ctx, error) => console.log(`grant.error ${error.error}: ${error.error_detail ?? error.error_description}`));
  const options = { keepAliveTimeout: 120_000 };
  const serve = (request, response) => answer(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
  http.createServer(options, serve).listen(settings.port, "127.0.0.1");
  if (settings.tls) {
    const [cert, key, ca] = [settings.tls.certificate, settings.tls.private_key, settings.tls.client_ca].map((name) => readFileSync(name));
    https.createServer({ ...options, cert, key, ca, requestCert: true, rejectUnauthorized: false }, serve).listen(settings.tls.port, "127.0.0.1");
  }
}

main();
