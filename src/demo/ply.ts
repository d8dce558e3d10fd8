/**
 * Reads triangle meshes from PLY files: ascii, or binary in either byte order. Of the file only
 * x, y, z of element `vertex` and the index list of element `face` are kept; other elements and
 * properties are stepped over. Errors name the byte offset and the rule.
 */

export interface Mesh {
  /** x, y, z of each vertex. */
  readonly positions: Float32Array;
  /** Three vertex numbers of each triangle. Faces with more corners are cut into fans. */
  readonly triangles: Uint32Array;
}

/** @forTests */
export class PlyError extends Error {
  override readonly name = "PlyError";
  /** Where in the file, in bytes. */
  readonly offset: number;

  constructor(offset: number, reason: string) {
    super(`byte ${offset}: ${reason}`);
    this.offset = offset;
  }
}

/** `bytes` is the whole file, unpacked. */
export function readPly(bytes: Uint8Array): Mesh {
  const header = readHeader(bytes);
  const source =
    header.format === "ascii"
      ? new TextSource(bytes, header.end)
      : new BinarySource(bytes, header.end, header.format === "binary_little_endian");
  const vertices = header.elements.find(({ name }) => name === "vertex")!.count;
  const positions = new Float32Array(vertices * 3);
  const triangles = new TriangleList(vertices);
  for (const element of header.elements) {
    if (element.name === "vertex") readVertices(source, element, positions);
    else if (element.name === "face") readFaces(source, element, triangles);
    else for (let i = 0; i < element.count; i++) skip(source, element.properties);
  }
  return { positions, triangles: triangles.take() };
}

type Format = "ascii" | "binary_little_endian" | "binary_big_endian";
type ScalarType = "i8" | "u8" | "i16" | "u16" | "i32" | "u32" | "f32" | "f64";

interface Property {
  readonly name: string;
  /** Of the value, or of each item of a list. */
  readonly type: ScalarType;
  /** Only lists have one: the type of their length. */
  readonly countType?: ScalarType;
}

interface Element {
  readonly name: string;
  readonly count: number;
  readonly properties: readonly Property[];
}

interface Header {
  readonly format: Format;
  readonly elements: readonly Element[];
  /** Where the data begins. */
  readonly end: number;
}

const FORMATS: readonly string[] = ["ascii", "binary_little_endian", "binary_big_endian"];

/** Both spellings that are in use. */
const SCALAR_TYPES: Readonly<Record<string, ScalarType>> = {
  char: "i8",
  uchar: "u8",
  short: "i16",
  ushort: "u16",
  int: "i32",
  uint: "u32",
  float: "f32",
  double: "f64",
  int8: "i8",
  uint8: "u8",
  int16: "i16",
  uint16: "u16",
  int32: "i32",
  uint32: "u32",
  float32: "f32",
  float64: "f64",
};

const SCALAR_BYTES: Readonly<Record<ScalarType, number>> = {
  i8: 1,
  u8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  f32: 4,
  f64: 8,
};

/** A header is a page of text at most; what has no end by then is no PLY file. */
const HEADER_BYTES_MAX = 65_536;

function readHeader(bytes: Uint8Array): Header {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, HEADER_BYTES_MAX));
  if (!/^ply\r?\n/.test(text)) throw new PlyError(0, 'a PLY file begins with a line "ply"');
  let format: Format | undefined;
  const elements: { name: string; count: number; properties: Property[] }[] = [];
  let at = text.indexOf("\n") + 1;
  for (;;) {
    const newline = text.indexOf("\n", at);
    if (newline < 0) throw new PlyError(at, 'the header has no line "end_header"');
    const words = text.slice(at, newline).trim().split(/\s+/);
    if (words[0] === "end_header") {
      const header = { format: format ?? missing(at, "format"), elements, end: newline + 1 };
      checkHeader(header, bytes.length);
      return header;
    }
    if (words[0] === "format") format = formatOf(words, at);
    else if (words[0] === "element") elements.push(elementOf(words, at));
    else if (words[0] === "property") {
      const element = elements.at(-1) ?? missing(at, "element before this property");
      element.properties.push(propertyOf(words, at));
    } else if (words[0] !== "comment" && words[0] !== "obj_info" && words[0] !== "") {
      throw new PlyError(at, `"${words[0]}" is no word of a PLY header`);
    }
    at = newline + 1;
  }
}

function missing(offset: number, what: string): never {
  throw new PlyError(offset, `the header has no ${what}`);
}

function formatOf(words: readonly string[], offset: number): Format {
  const [, format = "", version] = words;
  if (!FORMATS.includes(format) || version !== "1.0") {
    const got = words.slice(1).join(" ");
    throw new PlyError(offset, `format must be one of ${FORMATS.join(", ")}, 1.0; got "${got}"`);
  }
  return format as Format;
}

function elementOf(words: readonly string[], offset: number) {
  const [, name, count = ""] = words;
  if (name === undefined || words.length !== 3 || !/^\d{1,10}$/.test(count)) {
    throw new PlyError(offset, `an element has a name and a count, got "${words.join(" ")}"`);
  }
  return { name, count: Number(count), properties: [] };
}

function propertyOf(words: readonly string[], offset: number): Property {
  const isList = words[1] === "list";
  const names = isList ? words.slice(2, 4) : words.slice(1, 2);
  const types = names.map((name) => SCALAR_TYPES[name]);
  const [first, second] = types;
  if (words.length !== (isList ? 5 : 3) || first === undefined || types.includes(undefined)) {
    const rule = 'a property is "property TYPE NAME" or "property list TYPE TYPE NAME"';
    throw new PlyError(offset, `${rule}, got "${words.join(" ")}"`);
  }
  if (!isList) return { name: words[2]!, type: first };
  if (first === "f32" || first === "f64") {
    throw new PlyError(offset, `the length of list ${words[4]} must be of an integer type`);
  }
  return { name: words[4]!, type: second!, countType: first };
}

/** Also that the counts can be true: nothing is allocated for what the file cannot hold. */
function checkHeader(header: Header, fileBytes: number): void {
  const { end, elements, format } = header;
  for (const name of ["vertex", "face"]) {
    const found = elements.filter((element) => element.name === name);
    if (found.length === 0) missing(end, `element ${name}`);
    if (found.length > 1)
      throw new PlyError(end, `the header has ${found.length} elements ${name}`);
  }
  const bytesOf = ({ type, countType }: Property): number =>
    format === "ascii" ? 2 : SCALAR_BYTES[countType ?? type];
  // The last number of a text needs no space after it.
  let need = format === "ascii" ? -1 : 0;
  for (const { name, count, properties } of elements) {
    if (properties.length === 0) throw new PlyError(end, `element ${name} has no properties`);
    need += count * properties.reduce((sum, property) => sum + bytesOf(property), 0);
  }
  if (need > fileBytes - end) {
    const rule = `the elements need at least ${need} bytes`;
    throw new PlyError(end, `${rule}, the file has ${fileBytes - end} after its header`);
  }
}

/** Gives the numbers of the file one after the other. */
interface Source {
  /** Of the number that was read last, in bytes. */
  readonly offset: number;
  next(type: ScalarType): number;
}

function skip(source: Source, properties: readonly Property[]): void {
  for (const { type, countType } of properties) {
    const items = countType === undefined ? 1 : lengthOf(source, countType);
    for (let k = 0; k < items; k++) source.next(type);
  }
}

function lengthOf(source: Source, type: ScalarType): number {
  const length = source.next(type);
  if (Number.isInteger(length) && length >= 0) return length;
  throw new PlyError(source.offset, `the length of a list must be 0 or more, got ${length}`);
}

function readVertices(source: Source, element: Element, positions: Float32Array): void {
  const axes = element.properties.map(({ name, countType }) =>
    countType === undefined ? ["x", "y", "z"].indexOf(name) : -1,
  );
  for (const [axis, name] of ["x", "y", "z"].entries()) {
    if (!axes.includes(axis)) throw new PlyError(source.offset, `a vertex has no property ${name}`);
  }
  for (let vertex = 0; vertex < element.count; vertex++) {
    for (let k = 0; k < axes.length; k++) {
      const property = element.properties[k]!;
      if (axes[k] === -1) {
        skip(source, [property]);
        continue;
      }
      const value = source.next(property.type);
      if (!Number.isFinite(value)) {
        throw new PlyError(source.offset, `${property.name} must be finite, got ${value}`);
      }
      positions[3 * vertex + axes[k]!] = value;
    }
  }
}

function readFaces(source: Source, element: Element, triangles: TriangleList): void {
  const isCorners = ({ name, countType }: Property): boolean =>
    countType !== undefined && (name === "vertex_indices" || name === "vertex_index");
  if (!element.properties.some(isCorners)) {
    throw new PlyError(source.offset, "a face has no list vertex_indices");
  }
  for (let face = 0; face < element.count; face++) {
    for (const property of element.properties) {
      if (isCorners(property)) triangles.readFan(source, property);
      else skip(source, [property]);
    }
  }
}

class TriangleList {
  readonly #vertices: number;
  #indices = new Uint32Array(3 * 1024);
  #length = 0;

  constructor(vertices: number) {
    this.#vertices = vertices;
  }

  take(): Uint32Array {
    return this.#indices.slice(0, this.#length);
  }

  /** One face: triangles from its first corner to each of its far edges. */
  readFan(source: Source, { type, countType }: Property): void {
    const corners = lengthOf(source, countType!);
    if (corners < 3) {
      throw new PlyError(source.offset, `a face must have 3 corners or more, got ${corners}`);
    }
    const first = this.#corner(source, type);
    let last = this.#corner(source, type);
    for (let k = 2; k < corners; k++) {
      const next = this.#corner(source, type);
      this.#push(first, last, next);
      last = next;
    }
  }

  #corner(source: Source, type: ScalarType): number {
    const vertex = source.next(type);
    if (Number.isInteger(vertex) && vertex >= 0 && vertex < this.#vertices) return vertex;
    const rule = `a corner must be one of the ${this.#vertices} vertices`;
    throw new PlyError(source.offset, `${rule}, got ${vertex}`);
  }

  #push(a: number, b: number, c: number): void {
    if (this.#length === this.#indices.length) {
      const larger = new Uint32Array(2 * this.#length);
      larger.set(this.#indices);
      this.#indices = larger;
    }
    this.#indices[this.#length++] = a;
    this.#indices[this.#length++] = b;
    this.#indices[this.#length++] = c;
  }
}

class BinarySource implements Source {
  offset: number;
  readonly #view: DataView;
  readonly #isLittle: boolean;
  #end: number;

  constructor(bytes: Uint8Array, start: number, isLittle: boolean) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#isLittle = isLittle;
    this.offset = start;
    this.#end = start;
  }

  next(type: ScalarType): number {
    const at = this.#end;
    const view = this.#view;
    this.offset = at;
    this.#end = at + SCALAR_BYTES[type];
    if (this.#end > view.byteLength) throw new PlyError(at, "the file ends in the middle");
    if (type === "f32") return view.getFloat32(at, this.#isLittle);
    if (type === "i32") return view.getInt32(at, this.#isLittle);
    if (type === "u8") return view.getUint8(at);
    if (type === "u32") return view.getUint32(at, this.#isLittle);
    if (type === "u16") return view.getUint16(at, this.#isLittle);
    if (type === "i16") return view.getInt16(at, this.#isLittle);
    if (type === "i8") return view.getInt8(at);
    return view.getFloat64(at, this.#isLittle);
  }
}

/** Up to here, every integer is a double: longer rows of digits go the slow way. */
const DIGITS_MAX = 15;

/** Numbers from text without making strings of them: the file has millions. */
class TextSource implements Source {
  offset: number;
  readonly #bytes: Uint8Array;
  #end: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = bytes;
    this.offset = start;
    this.#end = start;
  }

  next(_type: ScalarType): number {
    const bytes = this.#bytes;
    let at = this.#end;
    while (bytes[at]! <= 0x20) at++;
    this.offset = at;
    const isNegative = bytes[at] === 0x2d;
    if (isNegative) at++;
    let value = 0;
    let digits = 0;
    let scale = 1;
    let isFraction = false;
    let byte = bytes[at];
    for (; byte !== undefined && byte > 0x20; byte = bytes[++at]) {
      if (byte === 0x2e && !isFraction) isFraction = true;
      else if (byte >= 0x30 && byte <= 0x39) {
        value = value * 10 + (byte - 0x30);
        if (isFraction) scale *= 10;
        digits++;
      } else return this.#slowly();
    }
    if (digits === 0 || digits > DIGITS_MAX) return this.#slowly();
    this.#end = at;
    return (isNegative ? -value : value) / scale;
  }

  /** Exponents, signs, long numbers: rare. And what is no number at all. */
  #slowly(): number {
    const bytes = this.#bytes;
    let end = this.offset;
    while (end < bytes.length && bytes[end]! > 0x20) end++;
    if (end === this.offset) throw new PlyError(end, "the file ends in the middle");
    const text = new TextDecoder("latin1").decode(bytes.subarray(this.offset, end));
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
      throw new PlyError(this.offset, `"${text}" is no number`);
    }
    this.#end = end;
    return Number(text);
  }
}
