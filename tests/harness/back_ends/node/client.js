// SPDX-License-Identifier: Apache-2.0
// client.js undici|ws TASK: goes by the proxies that TASK (JSON) names, and tells in JSON what it got.
const { createHash } = require("node:crypto");
const { once } = require("node:events");
const { createReadStream } = require("node:fs");
const http = require("node:http");
const { HttpProxyAgent } = require("http-proxy-agent");
const { HttpsProxyAgent } = require("https-proxy-agent");
const { SocksProxyAgent } = require("socks-proxy-agent");
const undici = require("undici");
const WebSocket = require("ws");

const task = JSON.parse(process.argv[3]);

async function digest(body) {
  const hash = createHash("sha256");
  for await (const piece of body) hash.update(piece);
  return hash.digest("hex");
}

async function byUndici() {
  const dispatcher = new undici.ProxyAgent({ uri: task.proxy, requestTls: { ca: task.ca } });
  const ask = (url, options) => undici.request(url, { dispatcher, ...options });
  const said = { down: {}, many: {} };
  for (const url of ["http://nginx/open/big", "http://apache/open/big", "https://tls/open/big"]) {
    said.down[url] = await digest((await ask(url)).body);
  }
  said.up = await (await ask("http://node/open/up", { method: "POST", body: createReadStream(task.file) })).body.json();
  const many = Array.from({ length: 300 }, async (_, number) => {
    const answer = await ask(`http://node/open/${number}`);
    const { path } = await answer.body.json();
    return path === `/open/${number}` ? answer.statusCode : `${path} instead of ${number}`;
  });
  for (const status of await Promise.all(many)) said.many[status] = (said.many[status] ?? 0) + 1;
  const closed = await ask("http://node/closed");
  said.closed = [closed.statusCode, (await closed.body.json()).code];
  const trailed = await ask("http://node/open/trailers");
  said.trailers = [await trailed.body.text(), trailed.trailers["x-checksum"]];
  await dispatcher.close();
  return said;
}

function byNodeItself() {
  const { hostname, port } = new URL(task.proxy);
  return new Promise((resolve, reject) => {
    const headers = { Host: "node", Trailer: "X-Digest" };
    const request = http.request({ hostname, port, method: "POST", path: "http://node/open/own", headers }, async (response) => {
      let text = "";
      for await (const piece of response) text += piece;
      const seen = JSON.parse(text);
      resolve([`${seen.size}`, seen.trailers["x-digest"]]);
    });
    request.on("error", reject);
    request.write("with ");
    request.addTrailers({ "X-Digest": "dead" });
    request.end("digest");
  });
}

async function talk(agent) {
  const socket = new WebSocket("ws://node/open/socket", { agent, maxPayload: 1 << 24 });
  await once(socket, "open");
  const said = { sizes: [] };
  for (const size of [0, 1, 125, 126, 65535, 65536, 4 << 20]) {
    const message = Buffer.alloc(size, "0123456789");
    socket.send(message);
    const [back] = await once(socket, "message");
    if (back.equals(message)) said.sizes.push(back.length);
  }
  socket.send("grüße");
  said.text = `${(await once(socket, "message"))[0]}`;
  socket.ping("ping");
  said.pong = `${(await once(socket, "pong"))[0]}`;
  socket.close(4001, "enough");
  const [code, reason] = await once(socket, "close");
  said.closed = [code, `${reason}`];
  const refused = new WebSocket("ws://node/open/elsewhere", { agent });
  const [, response] = await once(refused, "unexpected-response");
  said["not allowed"] = response.statusCode;
  response.destroy();
  return said;
}

async function byWs() {
  return {
    "absolute form": await talk(new HttpProxyAgent(task.proxy)),
    CONNECT: await talk(new HttpsProxyAgent(task.proxy)),
    SOCKS5: await talk(new SocksProxyAgent(task.socks)),
  };
}

async function main() {
  const said = process.argv[2] === "ws" ? await byWs() : { ...(await byUndici()), own: await byNodeItself() };
  process.stdout.write(JSON.stringify(said), () => process.exit(0));
}

main();
