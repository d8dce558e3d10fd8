/**
 * Reads the meshes of the Stanford repository: PLY, ascii, with a `vertex` element that begins
 * with x, y, z and a `face` element of one index list. Errors name the line and the rule.
 */

export interface Mesh {
  /** x, y, z of each vertex. */
  readonly positions: Float32Array;
  /** Three vertex numbers of each triangle. */
  readonly triangles: Uint32Array;
}

export class PlyError extends Error {
  override readonly name = "PlyError";
}

export function readPly(bytes: Uint8Array): Mesh {
  const header = readHeader(bytes);
  const reader = new NumberReader(bytes, header.end, header.lines);
  const positions = new Float32Array(header.vertices * 3);
  for (let vertex = 0; vertex < header.vertices; vertex++) {
    for (let axis = 0; axis < 3; axis++) positions[3 * vertex + axis] = reader.next();
    reader.skipLine();
  }
  const triangles = new Uint32Array(header.faces * 3);
  for (let face = 0; face < header.faces; face++) {
    const corners = reader.next();
    if (corners !== 3) reader.fail(`a face has ${corners} corners, only triangles are read`);
    for (let corner = 0; corner < 3; corner++) {
      const vertex = reader.next();
      if (!Number.isInteger(vertex) || vertex < 0 || vertex >= header.vertices) {
        reader.fail(`vertex ${vertex} is not one of ${header.vertices}`);
      }
      triangles[3 * face + corner] = vertex;
    }
    reader.skipLine();
  }
  return { positions, triangles };
}

interface Header {
  readonly vertices: number;
  readonly faces: number;
  /** Where the data begins, and on which line. */
  readonly end: number;
  readonly lines: number;
}

function readHeader(bytes: Uint8Array): Header {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 65_536));
  const match = /\nend_header\r?\n/.exec(text);
  if (!text.startsWith("ply") || match === null) {
    throw new PlyError('line 1: not a PLY file (it must begin with "ply" and have an end_header)');
  }
  const end = match.index + match[0].length;
  const lines = text.slice(0, end).split("\n");
  const format = lines.find((line) => line.startsWith("format")) ?? "no format line";
  if (!format.startsWith("format ascii")) {
    throw new PlyError(`line ${lines.indexOf(format) + 1}: "${format.trim()}", only ascii is read`);
  }
  const count = (element: string): number => {
    const found = new RegExp(`^element ${element} (\\d+)`, "m").exec(text.slice(0, end));
    if (found === null) throw new PlyError(`the header has no "element ${element}"`);
    return Number(found[1]);
  };
  return { vertices: count("vertex"), faces: count("face"), end, lines: lines.length };
}

/** Numbers from text without making strings of them: the file has millions. */
class NumberReader {
  readonly #bytes: Uint8Array;
  #at: number;
  #line: number;

  constructor(bytes: Uint8Array, start: number, line: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#line = line;
  }

  next(): number {
    const bytes = this.#bytes;
    let at = this.#at;
    while (bytes[at] === 0x20) at++;
    const start = at;
    let sign = 1;
    if (bytes[at] === 0x2d) {
      sign = -1;
      at++;
    }
    let value = 0;
    let digits = 0;
    let scale = 1;
    let isFraction = false;
    for (; ; at++) {
      const byte = bytes[at];
      if (byte === 0x2e && !isFraction) isFraction = true;
      else if (byte !== undefined && byte >= 0x30 && byte <= 0x39) {
        value = value * 10 + (byte - 0x30);
        if (isFraction) scale *= 10;
        digits++;
      } else break;
    }
    this.#at = at;
    if (bytes[at] === 0x65 || bytes[at] === 0x45) return this.#withExponent(start);
    if (digits === 0) this.fail("a number is missing");
    return (sign * value) / scale;
  }

  /** Rare, so by the slow way. */
  #withExponent(start: number): number {
    let end = start;
    while (end < this.#bytes.length && this.#bytes[end]! > 0x20) end++;
    const text = new TextDecoder("latin1").decode(this.#bytes.subarray(start, end));
    const value = Number(text);
    if (Number.isNaN(value)) this.fail(`"${text}" is no number`);
    this.#at = end;
    return value;
  }

  /** On to the next line, past properties that nobody asked for. */
  skipLine(): void {
    const bytes = this.#bytes;
    while (this.#at < bytes.length && bytes[this.#at] !== 0x0a) this.#at++;
    this.#at++;
    this.#line++;
  }

  fail(reason: string): never {
    throw new PlyError(`line ${this.#line}: ${reason}`);
  }
}
