// Node's http and http2 as clients. Each line of standard input is a job in JSON, each line of
// standard output its record. Jobs run side by side, and each has connections of its own.
const crypto = require("crypto");
const http = require("http");
const http2 = require("http2");
const readline = require("readline");

const MAXIMUM_TIME = 6000;

// A short body as it is, a long one by its length and checksum.
function summary(body) {
  if (body.length <= 200) return body.toString("latin1");
  const sum = crypto.createHash("sha256").update(body).digest("hex");
  return `${body.length} bytes, SHA-256 ${sum}`;
}

function fields(headers) {
  const each = Object.entries(headers).flatMap(([name, values]) =>
    [values].flat().map((value) => `${name}: ${value}`),
  );
  return each.sort();
}

// Resolves to the record of one call. `send` starts it, and gets what ends it.
function record(send) {
  return new Promise((resolve) => {
    const answer = { parts: [] };
    const end = (error) => {
      clearTimeout(timer);
      const { parts, ...rest } = answer;
      if (error) rest.error = `${error.code} ${error.message}`;
      resolve({ ...rest, body: summary(Buffer.concat(parts)) });
    };
    const timer = setTimeout(() => end({ code: "timeout", message: "" }), MAXIMUM_TIME);
    try {
      send(answer, end);
    } catch (error) {
      end(error);
    }
  });
}

// Ends the body: in one piece if its length may be known, else in two.
function finish(request, call) {
  const body = Buffer.from(call.body.repeat(call.times));
  if (!body.length) return request.end();
  if (!call.without_length) return request.end(body);
  request.write(body.subarray(0, 1));
  request.end(body.subarray(1));
}

function byHttp1(job) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: job.parallel ? Infinity : 1 });
  const perform = (call) =>
    record((answer, end) => {
      const { host, port } = job;
      const { method, path } = call;
      const body = Buffer.byteLength(call.body) * call.times;
      const length = body && !call.without_length ? [["Content-Length", body]] : [];
      // A flat array keeps order and case; without a Host of its own, it needs one.
      const named = call.headers.some(([name]) => name.toLowerCase() === "host");
      const own = named ? [] : [["Host", `${host}:${port}`]];
      const headers = [...own, ...call.headers, ...length].flat();
      const request = http.request({ agent, host, port, method, path, headers });
      request.on("error", end);
      request.on("response", (response) => {
        answer.status = `${response.httpVersion} ${response.statusCode}`;
        answer.fields = fields(response.headers);
        response.on("data", (part) => answer.parts.push(part));
        response.on("error", end);
        response.on("end", () => {
          answer.trailers = fields(response.trailers);
          end();
        });
      });
      finish(request, call);
    });
  return [perform, () => agent.destroy()];
}

function byHttp2(job) {
  const session = http2.connect(`http://${job.host}:${job.port}`);
  session.on("error", () => {});
  const perform = (call) =>
    record((answer, end) => {
      const headers = { ":method": call.method, ":path": call.path };
      for (const [name, value] of call.headers) headers[name] = value;
      const request = session.request(headers, { endStream: !call.body });
      request.on("error", end);
      request.on("response", (head) => {
        answer.status = `2 ${head[":status"]}`;
        answer.fields = fields(head);
      });
      request.on("trailers", (trailers) => (answer.trailers = fields(trailers)));
      request.on("data", (part) => answer.parts.push(part));
      request.on("close", () => end(request.rstCode && { code: "reset", message: request.rstCode }));
      if (call.body) finish(request, call);
    });
  return [perform, () => session.destroy()];
}

async function run(job) {
  const [perform, end] = (job.protocol === "h2" ? byHttp2 : byHttp1)(job);
  const answers = [];
  if (job.parallel) {
    answers.push(...(await Promise.all(job.calls.map(perform))));
  } else {
    for (const call of job.calls) answers.push(await perform(call));
  }
  end();
  console.log(JSON.stringify({ id: job.id, answers }));
}

readline.createInterface({ input: process.stdin }).on("line", (line) => run(JSON.parse(line)));
