/** Names that a variable in generated WGSL cannot have, or must leave to WGSL. */
import { WGSL_WORDS } from "../../args.ts";

/** Functions and types that generated text calls, and words that the driver looks for. */
const USED = new Set(
  `abs acos acosh args array asin asinh atan atan2 atanh bitcast bool ceil clamp cos cosh
  countLeadingZeros cross distance dot exp exp2 f32 floor fract i32 inverseSqrt length log log2 main
  max min mix normalize pow reflect round select sign sin sinh smoothstep sqrt step tan tanh trunc
  u32 atomic ptr storageBarrier textureBarrier workgroupBarrier workgroupUniformLoad
  vec2f vec2i vec2u vec3f vec3i vec3u vec4f vec4i vec4u`.split(/\s+/),
);

export const isWgslName = (name: string): boolean => USED.has(name) || WGSL_WORDS.has(name);
