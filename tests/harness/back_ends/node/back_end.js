// SPDX-License-Identifier: Apache-2.0
// A back end on each port: back_end.js PORT... Tells in JSON what it was asked, and at which port; echoes what comes by WebSocket.
const { createHash } = require("node:crypto");
const http = require("node:http");
const { WebSocketServer } = require("ws");

const serve = async (request, response) => {
  const hash = createHash("sha256");
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    hash.update(piece);
  }
  if (request.url === "/open/trailers") {
    response.writeHead(200, { Trailer: "X-Checksum" });
    response.write("body ");
    response.addTrailers({ "X-Checksum": "c0ffee" });
    return response.end("and trailers");
  }
  const { method, url, headers, trailers, socket } = request;
  const text = JSON.stringify({ method, path: url, fields: headers, trailers, size, sha256: hash.digest("hex"), port: socket.localPort });
  response.writeHead(200, { "Content-Type": "application/json", "X-Port": socket.localPort, "X-Echo": headers["x-id"] ?? "" });
  response.end(text);
};

// Whoever asks first is told at once what would become of the body.
const serveOrRefuse = (request, response) => {
  if (request.url === "/open/too-large") {
    response.writeHead(413, { "Content-Length": 0, Connection: "close" });
    return response.end();
  }
  response.writeContinue();
  return serve(request, response);
};

for (const port of process.argv.slice(2)) {
  const server = http.createServer(serve).on("checkContinue", serveOrRefuse);
  new WebSocketServer({ server, maxPayload: 1 << 24, perMessageDeflate: true }).on("connection", (socket) => {
    socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
    socket.on("close", (code, reason) => console.log(`closed ${code} ${reason}`));
  });
  server.listen(Number(port), "127.0.0.1");
}
