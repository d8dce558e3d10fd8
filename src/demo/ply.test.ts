import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { type Mesh, PlyError, readPly } from "./ply.ts";

const text = (...lines: string[]): Uint8Array => new TextEncoder().encode(`${lines.join("\n")}\n`);

const header = (format: string, vertices: number, faces: number): string[] => [
  "ply",
  `format ${format} 1.0`,
  "comment two kinds of scalar, and a property that nobody asked for",
  `element vertex ${vertices}`,
  "property float x",
  "property float y",
  "property uchar confidence",
  "property double z",
  `element face ${faces}`,
  "property list uchar int vertex_indices",
  "end_header",
];

interface Polygons {
  readonly vertices: readonly (readonly [number, number, number])[];
  readonly faces: readonly (readonly number[])[];
}

function asText({ vertices, faces }: Polygons): Uint8Array {
  return text(
    ...header("ascii", vertices.length, faces.length),
    ...vertices.map(([x, y, z]) => `${x} ${y} 7 ${z}`),
    ...faces.map((corners) => [corners.length, ...corners].join(" ")),
  );
}

function asBinary({ vertices, faces }: Polygons, isLittle: boolean): Uint8Array {
  const order = isLittle ? "little" : "big";
  const head = text(...header(`binary_${order}_endian`, vertices.length, faces.length));
  const corners = faces.reduce((sum, face) => sum + face.length, 0);
  const bytes = new Uint8Array(head.length + 17 * vertices.length + faces.length + 4 * corners);
  bytes.set(head);
  const view = new DataView(bytes.buffer);
  let at = head.length;
  for (const [x, y, z] of vertices) {
    view.setFloat32(at, x, isLittle);
    view.setFloat32(at + 4, y, isLittle);
    view.setUint8(at + 8, 7);
    view.setFloat64(at + 9, z, isLittle);
    at += 17;
  }
  for (const face of faces) {
    view.setUint8(at++, face.length);
    for (const corner of face) {
      view.setInt32(at, corner, isLittle);
      at += 4;
    }
  }
  return bytes;
}

/** What the reader should make of it, said in the plainest way. */
const meshOf = ({ vertices, faces }: Polygons): Mesh => ({
  positions: Float32Array.from(vertices.flat()),
  triangles: Uint32Array.from(
    faces.flatMap((face) => face.slice(2).flatMap((corner, k) => [face[0]!, face[k + 1]!, corner])),
  ),
});

// Text has no negative zero: + 0 makes it a plain one.
const coordinate = fc.double({ noNaN: true, min: -1e30, max: 1e30 }).map((value) => value + 0);
const polygons: fc.Arbitrary<Polygons> = fc
  .array(fc.tuple(coordinate, coordinate, coordinate), { minLength: 1, maxLength: 20 })
  .chain((vertices) =>
    fc.record({
      vertices: fc.constant(vertices),
      faces: fc.array(fc.array(fc.nat(vertices.length - 1), { minLength: 3, maxLength: 6 }), {
        maxLength: 20,
      }),
    }),
  );

describe("a PLY file", () => {
  it("gives the same mesh as text and as binary of either byte order", () => {
    fc.assert(
      fc.property(polygons, (shape) => {
        const expected = meshOf(shape);
        expect(readPly(asText(shape))).toEqual(expected);
        expect(readPly(asBinary(shape, true))).toEqual(expected);
        expect(readPly(asBinary(shape, false))).toEqual(expected);
      }),
      replayable("ply"),
    );
  });

  it("may hold other elements, other line ends and numbers in any notation", () => {
    const file = [
      "ply",
      "format ascii 1.0",
      "obj_info made by hand",
      "element camera 1",
      "property list uchar float matrix",
      "property int id",
      "element face 1",
      "property uchar flags",
      "property list uchar uint vertex_index",
      "element vertex 3",
      "property float z",
      "property float y",
      "property float x",
      "end_header",
      "2 0.5 0.25 9",
      "0 3 0 1 2",
      "1e-3 -.5 +2",
      "3. 123456789012345678901 0",
      "0 0 1",
    ].join("\r\n");
    expect(readPly(new TextEncoder().encode(file))).toEqual({
      positions: Float32Array.of(2, -0.5, 1e-3, 0, 1.2345678901234568e20, 3, 1, 0, 0),
      triangles: Uint32Array.of(0, 1, 2),
    });
  });
});

describe("a broken PLY file is refused with the offset and the rule:", () => {
  const good = [...header("ascii", 3, 1), "0 0 7 0", "1 0 7 0", "0 1 7 0", "3 0 1 2"];
  const change = (line: number, to: string): Uint8Array =>
    text(...good.map((each, k) => (k === line ? to : each)));
  const cases: [string, Uint8Array, RegExp][] = [
    ["another kind of file", text("solid dragon"), /^byte 0: .*begins with a line "ply"/],
    ["an empty file", new Uint8Array(), /^byte 0: /],
    ["no end of the header", text(...good.slice(0, 10)), /no line "end_header"/],
    ["another format", change(1, "format ebcdic 1.0"), /^byte 4: format .*"ebcdic 1.0"/],
    ["a negative count", change(3, "element vertex -3"), /an element has a name and a count/],
    ["an unknown type", change(4, "property half x"), /"property half x"/],
    ["an unknown word", change(2, "coment"), /"coment" is no word/],
    ["no z", change(7, "property double w"), /a vertex has no property z/],
    ["no faces' corners", change(9, "property int vertex_indices"), /no list vertex_indices/],
    ["two elements vertex", change(8, "element vertex 1"), /2 elements vertex/],
    ["a count that cannot be", change(3, "element vertex 4000000000"), /need at least \d+ bytes/],
    ["no number", change(11, "0 zero 7 0"), /^byte \d+: "zero" is no number/],
    ["a coordinate that is too large", change(11, "1e999 0 7 0"), /x must be finite/],
    ["a face of two corners", change(14, "2 0 1 2"), /3 corners or more, got 2/],
    ["a corner that is no vertex", change(14, "3 0 1 3"), /one of the 3 vertices, got 3/],
    ["a negative corner", change(14, "3 0 1 -1"), /one of the 3 vertices, got -1/],
    ["a list of -1 items", change(14, "-1 0 1 2"), /0 or more, got -1/],
    ["an end in the middle", text(...good.slice(0, 14), "3 0 1    "), /ends in the middle/],
  ];
  it.each(cases)("%s", (_name, bytes, message) => {
    expect(() => readPly(bytes)).toThrow(PlyError);
    expect(() => readPly(bytes)).toThrow(message);
  });

  it("a binary file that was cut, wherever that was", () => {
    const whole = asBinary(
      {
        vertices: [
          [0, 0, 0],
          [1, 0, 0],
          [0, 1, 0],
        ],
        faces: [[0, 1, 2]],
      },
      true,
    );
    for (let bytes = 0; bytes < whole.length; bytes++) {
      expect(() => readPly(whole.subarray(0, bytes))).toThrow(PlyError);
    }
  });

  it("the offset is the one of the word that is wrong", () => {
    const bytes = change(14, "3 0 1 99");
    const at = new TextDecoder().decode(bytes).lastIndexOf("99");
    expect(() => readPly(bytes)).toThrow(`byte ${at}: `);
  });
});
