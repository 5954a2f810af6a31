// Runs the CDK's own provider of Custom::Trigger, unmodified, out of an assembly; only its exported hooks are set.
// In: one line of JSON a request, {event, environment}. Out: one line, {answer, output}: what it would PUT, and its log.
"use strict";
const path = require("node:path");
const readline = require("node:readline");
const { format } = require("node:util");

const folder = process.argv[2];
const entry = require(path.join(folder, "__entrypoint__.js"));
const output = [];
let answer;

console.log = console.error = console.warn = (...words) => { output.push(format(...words)); };
entry.external.log = console.log;
entry.external.userHandlerIndex = path.join(folder, "index.js");
entry.external.sendHttpRequest = async (_options, body) => { answer = body; };

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { event, environment } = JSON.parse(line);
    Object.assign(process.env, environment);
    answer = undefined;
    await entry.handler(event, {});
    process.stdout.write(`${JSON.stringify({ answer, output: output.splice(0).join("\n") })}\n`);
  }
})();
