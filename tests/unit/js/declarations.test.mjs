import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as made from "../../../clients/js/auerbach.js";
import { settled, setUp } from "./fake_socket.mjs";

const read = (name) => readFileSync(new URL(`../../../clients/js/${name}`, import.meta.url), "utf8");
const [module, declarations] = [read("auerbach.js"), read("auerbach.d.ts")];
const names = (text, pattern) => [...text.matchAll(pattern)].map(([, name]) => name).sort();

/** The members that the declarations give to a class. */
function declared(name) {
  const body = declarations.match(new RegExp(`^export class ${name} [^]*?\\n}`, "m"))[0];
  return names(body, /^ {2}(?:readonly )?(\w+)[?(:<]/gm).filter((member) => member !== "constructor");
}

/** The public members that an object has of its class and of its own. */
function members(object) {
  const own = [...Object.getOwnPropertyNames(object), ...Object.getOwnPropertyNames(Object.getPrototypeOf(object))];
  return own.filter((member) => member !== "constructor").sort();
}

test("the declarations and the module export the same values", () => {
  assert.deepEqual(names(declarations, /^export (?:class|function|const) (\w+)/gm), Object.keys(made).sort());
});

test("each class has just the members that are declared", async (t) => {
  const { client } = setUp(t);
  const inherited = ["stack", "message", "name"];
  const ofError = members(new made.ChatError("code", "message")).filter((name) => !inherited.includes(name));
  const objects = { Client: members(client), Conversation: members(client.conversation("g")), ChatError: ofError };
  await settled();

  for (const [name, found] of Object.entries(objects)) assert.deepEqual(found, declared(name), name);
});

test("each type that the module's comments name is declared", () => {
  const types = new Set(names(declarations, /^export (?:interface|type|class) (\w+)/gm));

  for (const name of names(module, /import\("\.\/auerbach\.js"\)\.(\w+)/g)) assert.ok(types.has(name), name);
});

test("it imports nothing", () => {
  assert.doesNotMatch(module, /^\s*import\s/m);
  assert.doesNotMatch(module.replaceAll(/import\("\.\/auerbach\.js"\)/g, ""), /\bimport\(|\brequire\(/);
});
