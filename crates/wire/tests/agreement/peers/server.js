// Node's server (llhttp): reports each request in the header `Saw` of its response. Exits when its
// standard input is closed.
const http = require('http');

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString('hex');
    const saw = `${request.method} ${request.url} ${body}.`;
    response.setHeader('Saw', Buffer.from(saw, 'latin1').toString('hex'));
    response.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit()).resume();
