// Node's http and http2 as servers: `server.js KIND PORT RECORD`. The file RECORD gets a line of
// JSON for each request, when the server has done with it.
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const http2 = require("http2");

const [kind, port, file] = process.argv.slice(2);

// A short body as it is, a long one by its length and checksum.
function summary(body) {
  if (body.length <= 200) return body.toString("latin1");
  const sum = crypto.createHash("sha256").update(body).digest("hex");
  return `${body.length} bytes, SHA-256 ${sum}`;
}

// Names and values as they came, in order.
function fields(raw) {
  const lines = [];
  for (let at = 0; at < raw.length; at += 2) lines.push(`${raw[at]}: ${raw[at + 1]}`);
  return lines;
}

// Behaves as the path says, by default as an echo of the request's description.
function serve(request, response) {
  const parts = [];
  let isWritten = false;
  const write = (error) => {
    if (isWritten) return;
    isWritten = true;
    const seen = {
      protocol: request.httpVersion,
      method: request.method,
      target: request.url,
      authority: request.headers[":authority"] ?? request.headers.host,
      user: request.headers["x-user"] ?? "",
      fields: fields(request.rawHeaders),
      body: summary(Buffer.concat(parts)),
      trailers: fields(request.rawTrailers),
      error,
    };
    fs.appendFileSync(file, JSON.stringify(seen) + "\n");
  };
  request.on("error", (error) => write(error.code));
  request.on("aborted", () => write("aborted"));
  if (request.url.startsWith("/early")) {
    // How much of the body has come by then is a matter of chance.
    write("");
    response.statusCode = 413;
    response.end("too large\n");
    request.resume();
    return;
  }
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const text = `${request.method} ${Buffer.concat(parts).length}\n`;
    if (request.url.startsWith("/close")) response.setHeader("Connection", "close");
    if (request.url.startsWith("/chunks")) {
      response.write(text.slice(0, 3));
      response.addTrailers({ "x-end": "yes" });
      response.end(text.slice(3));
    } else {
      response.end(text);
    }
    write("");
  });
}

const server = kind === "http2" ? http2.createServer(serve) : http.createServer(serve);
server.listen(Number(port), "0.0.0.0");
