// What the guest's writers have logged, and whether a disk has it all. domu/writer.c writes both.

const kBlock = 4096
const kRecord = 8

/** The newest write that each block was acknowledged, by one writer. */
export interface Writes {
  /** How many there were. */
  readonly count: number
  /** By block: the write's number. Discards have taken their blocks out: what those hold is open. */
  readonly last: ReadonlyMap<number, number>
}

export function parseLog (log: Buffer): Writes {
  const last = new Map<number, number>()
  const count = Math.floor(log.length / kRecord)
  for (let index = 0; index < count; index++) {
    const [block, discarded] = [0, 4].map((at) => log.readUInt32LE(index * kRecord + at)) as [number, number]
    for (let each = block; each < block + discarded; each++) last.delete(each)
    if (discarded === 0) last.set(block, index + 1)
  }
  return { count, last }
}

/** The acknowledged writes that the disk does not have. One that was not acknowledged yet, the next,
 * may be there too. */
export function lostWrites (disk: Buffer, { count, last }: Writes): string[] {
  const lost: string[] = []
  for (const [block, sequence] of last) {
    const found = sequenceIn(disk.subarray(block * kBlock, (block + 1) * kBlock), block)
    if (found === sequence || found === count + 1) continue
    lost.push(`block ${block} holds ${found ?? 'no whole write'}, not ${sequence} of ${count}`)
  }
  return lost
}

function sequenceIn (content: Buffer, block: number): number | null {
  if (content.length !== kBlock || content.readBigUInt64LE(8) !== BigInt(block)) return null
  return content.equals(Buffer.alloc(kBlock, content.subarray(0, 16))) ? Number(content.readBigUInt64LE()) : null
}
