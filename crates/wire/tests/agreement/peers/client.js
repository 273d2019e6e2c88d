// Node's client (llhttp): requests each path `/0`, `/1`, … once, and prints what it finds in each
// response.
const http = require('http');

const [port, ...methods] = process.argv.slice(2);
methods.forEach((method, number) => {
  const say = (what) => console.log(`${number} ${what}`);
  const path = `/${number}`;
  const request = http.request({ host: '127.0.0.1', port, path, method, agent: false });
  request.on('response', (response) => {
    const pieces = [];
    response.on('data', (piece) => pieces.push(piece));
    response.on('error', () => say('-'));
    response.on('end', () => {
      say(`${response.statusCode} ${Buffer.concat(pieces).toString('hex')}.`);
    });
  });
  request.on('upgrade', (_, socket) => { socket.destroy(); say('-'); });
  request.on('error', () => say('-'));
  request.end();
});
