// SPDX-License-Identifier: Apache-2.0
// cookies.js PROXY URL: fetches a CSRF token and its cookies, posts them as tough-cookie would, and prints the status.
const { once } = require("node:events");
const http = require("node:http");
const { CookieJar } = require("tough-cookie");

const [proxy, url] = process.argv.slice(2);

async function ask(method, fields) {
  const { hostname, port } = new URL(proxy);
  const headers = { ...fields, Host: new URL(url).host, "Content-Length": 0 };
  const request = http.request({ hostname, port, method, path: url, headers, timeout: 20_000 }).end();
  request.on("timeout", () => request.destroy(new Error("no answer")));
  const [response] = await once(request, "response");
  response.resume();
  return response;
}

async function main() {
  const jar = new CookieJar();
  const { headers } = await ask("GET", { "X-CSRF-Token": "Fetch" });
  // A cookie that the jar refuses is not sent, as in a browser.
  for (const cookie of headers["set-cookie"]) await jar.setCookie(cookie, url, { ignoreError: true });
  const posted = await ask("POST", { "X-CSRF-Token": headers["x-csrf-token"], Cookie: await jar.getCookieString(url) });
  process.stdout.write(`${posted.statusCode}`, () => process.exit(0));
}

main();
