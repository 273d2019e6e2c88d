// Node's http: files, an echo, and a response in chunks.
const fs = require("fs");
const http = require("http");

http
  .createServer((request, response) => {
    if (request.method === "POST" || request.method === "PUT") {
      const parts = [];
      request.on("data", (part) => parts.push(part));
      request.on("end", () => response.end(Buffer.concat(parts)));
    } else if (request.url === "/stream") {
      const text = fs.readFileSync(process.env.ROOT + "/hello");
      for (let at = 0; at < text.length; at += 7) response.write(text.subarray(at, at + 7));
      response.end();
    } else if (fs.existsSync(process.env.ROOT + request.url)) {
      const name = process.env.ROOT + request.url;
      response.setHeader("Content-Length", fs.statSync(name).size);
      fs.createReadStream(name).pipe(response);
    } else {
      response.statusCode = 404;
      response.end("none\n");
    }
  })
  .listen(8080);
