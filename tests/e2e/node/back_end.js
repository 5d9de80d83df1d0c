// SPDX-License-Identifier: Apache-2.0
// A back end: back_end.js PORT. Tells in JSON what it was asked; echoes at /open/socket what comes by WebSocket.
const { createHash } = require("node:crypto");
const http = require("node:http");
const { WebSocketServer } = require("ws");

const server = http.createServer(async (request, response) => {
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
  const { method, url, headers, trailers } = request;
  const text = JSON.stringify({ method, path: url, fields: headers, trailers, size, sha256: hash.digest("hex") });
  response.writeHead(200, { "Content-Type": "application/json", "X-Back-End": "node" });
  response.end(text);
});

// Whoever asks first is told at once what would become of the body.
server.on("checkContinue", (request, response) => {
  if (request.url === "/open/too-large") {
    response.writeHead(413, { "Content-Length": 0, Connection: "close" });
    return response.end();
  }
  response.writeContinue();
  server.emit("request", request, response);
});

const sockets = new WebSocketServer({ server, maxPayload: 1 << 24, perMessageDeflate: true });
sockets.on("connection", (socket) => {
  socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }));
  socket.on("close", (code, reason) => console.log(`closed ${code} ${reason}`));
});
server.listen(Number(process.argv[2]), "127.0.0.1");
