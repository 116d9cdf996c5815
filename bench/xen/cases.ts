// What moves between the two hosts of Xen, and over which link.

export interface Case {
  readonly name: string
  /** Null: as fast as the emulation is. */
  readonly link: { readonly mbitPerSecond: number, readonly oneWayMs: number } | null
  readonly diskMiB: number
  /** Of the disk, what does not compress. The rest is zeroes. */
  readonly contentMiB: number
  /** Of the guest. */
  readonly memoryMiB: number
  /** Between two writes of one of the guest's two writers, µs. */
  readonly pauseMicros: number
  /** How many blocks of the disk they write to. */
  readonly spanBlocks: number
  /** Our budget. */
  readonly downtime: string
}

const guest = { diskMiB: 64, contentMiB: 16, memoryMiB: 96, pauseMicros: 100_000, spanBlocks: 256 }
const all: readonly Case[] = [
  { ...guest, name: 'lan', link: null, downtime: '10s' },
  { ...guest, name: 'wan', link: { mbitPerSecond: 5, oneWayMs: 50 }, downtime: '20s' }
]

export function allCases (quick: boolean): readonly Case[] {
  return quick ? all.slice(0, 1).map((one) => ({ ...one, diskMiB: 16, contentMiB: 4 })) : all
}

export function describe ({ name, link, ...guest }: Case): string {
  const { diskMiB, contentMiB, memoryMiB } = guest
  const way = link === null ? 'no limits' : `${link.mbitPerSecond} Mbit/s, ${link.oneWayMs} ms each way`
  return `${name}: ${way}; disk ${diskMiB} MiB with ${contentMiB} of content, memory ${memoryMiB} MiB`
}
