// Answers `app <client> <server>`.
const http = require("http");

function name(ip, port) {
  const ip4 = ip.replace(/^::ffff:/, "");
  return ip4.includes(":") ? `[${ip}]:${port}` : `${ip4}:${port}`;
}

http
  .createServer((request, response) => {
    const s = request.socket;
    const client = name(s.remoteAddress, s.remotePort);
    const body = `app ${client} ${name(s.localAddress, s.localPort)}\n`;
    response.setHeader("Content-Length", Buffer.byteLength(body));
    response.end(body);
  })
  .listen(8080);
