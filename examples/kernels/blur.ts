/** A picture, blurred: RGBA in words, a PNG in and out. */
import { decode, encode } from "fast-png";
import { type Machine, ptr, u32 } from "onespace";

export const RADIUS = 2;

/** The mean of a channel over the pixels around, which is all of them that are in the picture. */
export const blur = (machine: Machine) =>
  machine.kernel(
    { pixels: ptr(u32), result: ptr(u32), width: u32, height: u32 },
    (i, { pixels, result, width, height }, { RADIUS, i32 }) => {
      const x = i32(i % width);
      const y = i32(Math.floor(i / width));
      let red = 0;
      let green = 0;
      let blue = 0;
      let count = 0;
      for (let dy = -RADIUS; dy <= RADIUS; dy++) {
        for (let dx = -RADIUS; dx <= RADIUS; dx++) {
          const column = x + dx;
          const row = y + dy;
          if (column < 0 || row < 0 || column >= i32(width) || row >= i32(height)) continue;
          const pixel = pixels[row * i32(width) + column];
          red += pixel & 255;
          green += (pixel >>> 8) & 255;
          blue += (pixel >>> 16) & 255;
          count++;
        }
      }
      const alpha = pixels[i] & 0xff000000;
      result[i] =
        Math.floor(red / count) |
        (Math.floor(green / count) << 8) |
        (Math.floor(blue / count) << 16) |
        alpha;
    },
    { name: "blur", uses: { RADIUS } },
  );

/** The PNG of a picture of RGBA, blurred. */
export async function blurred(machine: Machine, png: Uint8Array): Promise<Uint8Array> {
  const { width, height, data } = decode(png);
  const { space } = machine;
  const pixels = space.array(u32, width * height);
  const result = space.array(u32, width * height);
  pixels.copyFrom(new Uint32Array(Uint8Array.from(data).buffer));
  await blur(machine).run(width * height, { pixels, result, width, height });
  await using access = await space.access(result, "read");
  return encode({ width, height, data: Uint8Array.from(access.bytes), channels: 4 });
}
