/** Whether a file's holes are read; see TapOptions. */
export const kHoles = ['auto', 'trust', 'read'] as const
export type Holes = typeof kHoles[number]
