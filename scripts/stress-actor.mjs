/**
 * One thread of the stress test. It owns every word whose index in its page is its number modulo
 * the number of owners, and nobody else writes those. Three numbers of each word tell what may be
 * seen of it, kept outside of managed memory:
 *
 *   begun[word]      the newest value that its owner has begun to store
 *   done[word]       the newest value whose store has ended
 *
 * Values of a word only grow, so a reader who sees less than what was done before it looked has
 * read something stale, and one who sees more than what was begun after it looked has read
 * something that nobody stored.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Machine } from "../dist/machine/index.js";

const { handle, area, pages, owners, number, kind, shared, seed } = workerData;
const WORDS = 1024;
const machine = Machine.attach(handle);
const { space } = machine;
const memory = new Uint32Array(space.window, area, pages * WORDS);
const begun = new Uint32Array(shared.begun);
const done = new Uint32Array(shared.done);
const stop = new Int32Array(shared.stop);

/**
 * (module (import "e" "m" (memory 65536 65536 shared))
 *   (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
 *   (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1))))
 */
const LOAD_AND_STORE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 11, 2, 96, 1, 127, 1, 127, 96, 2, 127, 127, 0, 2, 13, 1, 1, 101,
  1, 109, 2, 3, 128, 128, 4, 128, 128, 4, 3, 3, 2, 0, 1, 7, 16, 2, 4, 108, 111, 97, 100, 0, 0, 5,
  115, 116, 111, 114, 101, 0, 1, 10, 19, 2, 7, 0, 32, 0, 40, 2, 0, 11, 9, 0, 32, 0, 32, 1, 54, 2, 0,
  11,
]);

/** Loads and stores as this kind of program makes them. */
const access = {
  array: () => ({
    load: (word) => memory[word],
    store: (word, value) => {
      memory[word] = value;
    },
  }),
  atomics: () => ({
    load: (word) => Atomics.load(memory, word),
    // An exchange that does not find what this thread stored last has lost an update.
    store: (word, value, last) => {
      const before = Atomics.exchange(memory, word, value);
      if (before !== last) throw lost(word, last, before);
    },
  }),
  wasm: () => {
    const module = new WebAssembly.Module(LOAD_AND_STORE);
    const { exports } = new WebAssembly.Instance(module, { e: { m: space.memory } });
    return {
      load: (word) => exports.load(area + 4 * word) >>> 0,
      store: (word, value) => exports.store(area + 4 * word, value),
    };
  },
}[kind]();

function lost(word, last, found) {
  const where = `word ${word} (page ${Math.floor(word / WORDS)})`;
  return new Error(`lost update: ${kind} ${number} stored ${last} in ${where} and found ${found}`);
}

let state = seed | 1;
function random(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}

function ownWord() {
  const slots = Math.floor((WORDS - 1 - number) / owners) + 1;
  return random(pages) * WORDS + number + owners * random(slots);
}

function write() {
  const word = ownWord();
  const last = done[word];
  const found = access.load(word);
  if (found !== last) throw lost(word, last, found);
  Atomics.store(begun, word, last + 1);
  access.store(word, last + 1, last);
  Atomics.store(done, word, last + 1);
}

function read() {
  const word = random(pages * WORDS);
  const least = Atomics.load(done, word);
  const seen = access.load(word);
  const most = Atomics.load(begun, word);
  if (seen >= least && seen <= most) return;
  const rule = `between ${least} and ${most}`;
  throw new Error(`stale read: ${kind} ${number} saw ${seen} in word ${word}, not ${rule}`);
}

/** What else a program does: blocks of the one heap, mappings of its own. */
function call() {
  const block = space.malloc(100 + random(20_000));
  space.u8[block] = number;
  space.free(block);
  if (random(10) > 0) return;
  const at = space.mmapSync({ bytes: 3 * 4096 });
  space.u32[at >>> 2] = number;
  space.mprotectSync(at, 4096, "r");
  if (space.u32[at >>> 2] !== number) throw new Error(`mprotect lost what was at ${at}`);
  space.munmapSync(at, 3 * 4096);
}

const counts = { writes: 0, reads: 0, calls: 0 };
while (Atomics.load(stop, 0) === 0) {
  for (let i = 0; i < 50; i++) {
    write();
    read();
  }
  counts.writes += 50;
  counts.reads += 50;
  if (random(4) === 0) {
    call();
    counts.calls++;
  }
}
parentPort.postMessage({ kind, ...counts });
await machine.close();
