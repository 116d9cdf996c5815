// The control messages of a migration: JSON on the control connection. Each side checks what it
// gets: a message that is not of these forms ends the session (PROTOCOL).
import { BlockferryError } from '../base/errors.js'
import type { MachineDescription } from '../machine/machine.js'
import type { ByteRange, WrongRange } from '../native/types.js'
import type { Place } from '../tap/places.js'

/** `epoch`: see lib/ownership/journal.ts; 0 when the source keeps no journal. `places`: where it lies. */
export interface OfferedDisk { name: string, size: number, blockSize: number, epoch: number, places: Place[] }

export interface Messages {
  // source → destination
  offer: {
    migration: string
    disks: OfferedDisk[]
    streams: number
    equality: boolean
    /** Tell what the disks hold already, so that it need not be sent. */
    reuse: boolean
    /** Null: only disks are moved. */
    machine: MachineDescription | null
  }
  /** The machine's memory is about to come: listen for it. */
  memory: Record<never, never>
  /** A commit may soon follow: if the link is lost from here on, the source will ask. */
  switchover: Record<never, never>
  /** Decide: if everything up to `mark` is here and equal (and all of the memory is), the disks are
   * yours. `run`: let the machine run. */
  commit: { mark: number, digests: string[], run: boolean }
  /** The answer to the commit was heard: nobody will ask for the outcome. */
  bye: Record<never, never>
  /** The source goes on alone; what was copied is kept, or deleted where this side made the file. */
  cancel: { keep: boolean }
  /** On a new connection, after the link broke: did the destination commit? */
  query: { migration: string }
  /** What do these ranges hold, past the cache? Before anything is overwritten there. At most kMaxProbed of
   * at most kMaxProbedBytes each. */
  probe: { disk: number, ranges: readonly ByteRange[] }
  // destination → source
  /** `separate`: it is not the source's own disk, as its file was made for it, or the operator says so.
   * `inventory`: what the disk holds will be told on a connection that the source opens. */
  accept: { disks: Array<{ blank: boolean, separate: boolean, inventory: boolean }> }
  /** A hash of each range; empty for one that can't be read. */
  probed: { hashes: string[] }
  memoryReady: Record<never, never>
  durable: { mark: number }
  /** `tookUs`: flushing and reading again. */
  verified: { mark: number, wrong: WrongRange[], tookUs: number }
  committed: { digests: string[] }
  notEqual: { digests: string[] }
  outcome: { committed: boolean, digests: string[] }
  // both
  failed: { code: string, message: string }
  ping: { number: number }
  pong: { number: number }
}

export type MessageType = keyof Messages
export type Message = { [T in MessageType]: { type: T } & Messages[T] }[MessageType]

/** Of a disk. */
export const kMaxPlaces = 64
export const kMaxProbed = 64
export const kMaxProbedBytes = 2 ** 20

const isNumber = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown) => typeof value === 'string' && value.length <= 4096
const isFlag = (value: unknown) => typeof value === 'boolean'
const listOf = (check: (value: any) => boolean) => (value: unknown) =>
  Array.isArray(value) && value.length <= 65_536 && value.every(check)
const objectOf = (checks: Record<string, (value: any) => boolean>) => (value: any) =>
  typeof value === 'object' && value !== null &&
  Object.entries(checks).every(([key, check]) => check(value[key]))

const isRange = objectOf({ disk: isNumber, first: isNumber, count: isNumber })
const isPlace = objectOf({ name: isText, start: isNumber, length: isNumber })
const isPlaces = (value: any) => listOf(isPlace)(value) && value.length <= kMaxPlaces
const isDisk = objectOf({ name: isText, size: isNumber, blockSize: isNumber, epoch: isNumber, places: isPlaces })
const isProbed = objectOf({
  offset: (offset) => isNumber(offset) && offset % 512 === 0,
  length: (length) => isNumber(length) && length > 0 && length % 512 === 0 && length <= kMaxProbedBytes
})
const isDetail = (value: unknown) => isText(value) || isFlag(value) || typeof value === 'number'
const isMachine = (value: any) => value === null ||
  (objectOf({ kind: isText, memory: isNumber })(value) && Object.values(value).every(isDetail))
const kChecks: { [T in MessageType]: (message: any) => boolean } = {
  offer: objectOf({
    migration: isText,
    disks: listOf(isDisk),
    streams: isNumber,
    equality: isFlag,
    reuse: isFlag,
    machine: isMachine
  }),
  memory: objectOf({}),
  switchover: objectOf({}),
  commit: objectOf({ mark: isNumber, digests: listOf(isText), run: isFlag }),
  bye: objectOf({}),
  cancel: objectOf({ keep: isFlag }),
  query: objectOf({ migration: isText }),
  probe: objectOf({
    disk: isNumber, ranges: (ranges) => listOf(isProbed)(ranges) && ranges.length <= kMaxProbed
  }),
  accept: objectOf({ disks: listOf(objectOf({ blank: isFlag, separate: isFlag, inventory: isFlag })) }),
  probed: objectOf({ hashes: listOf(isText) }),
  memoryReady: objectOf({}),
  durable: objectOf({ mark: isNumber }),
  verified: objectOf({ mark: isNumber, wrong: listOf(isRange), tookUs: isNumber }),
  committed: objectOf({ digests: listOf(isText) }),
  notEqual: objectOf({ digests: listOf(isText) }),
  outcome: objectOf({ committed: isFlag, digests: listOf(isText) }),
  failed: objectOf({ code: isText, message: isText }),
  ping: objectOf({ number: isNumber }),
  pong: objectOf({ number: isNumber })
}

export function encode<T extends MessageType> (type: T, message: Messages[T]): string {
  return JSON.stringify({ type, ...message })
}

export function decode (text: string): Message {
  let message: any
  try {
    message = JSON.parse(text)
  } catch {
    message = null
  }
  const check = typeof message?.type === 'string' && Object.hasOwn(kChecks, message.type)
    ? kChecks[message.type as MessageType]
    : null
  if (check === null || !check(message)) {
    throw new BlockferryError('PROTOCOL', 'the peer sent a control message that makes no sense')
  }
  return message
}

/** PROTOCOL: it is of the form of an offer, and makes no sense. */
export function checkOffer ({ disks, streams }: Messages['offer']): void {
  const names = new Set(disks.map(({ name }) => name))
  if (disks.length === 0 || names.size !== disks.length || streams < 1 || streams > 16) {
    throw new BlockferryError('PROTOCOL', 'the offer makes no sense')
  }
}
