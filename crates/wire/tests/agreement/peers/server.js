// Node's own parser (llhttp). Tells of each request in the header `Saw` of its response. Ends with its standard input.
const http = require('http');

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const body = Buffer.concat(pieces).toString('hex');
    response.setHeader('Saw', Buffer.from(`${request.method} ${request.url} ${body}.`, 'latin1').toString('hex'));
    response.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit()).resume();
