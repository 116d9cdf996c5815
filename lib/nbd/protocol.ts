// The client's part of the NBD protocol's numbers, after the NBD project's doc/proto.md.
// native/core/nbd/protocol.h carries the server's.

import { BlockferryError } from '../base/errors.js'

export const greetingMagic = 0x4e42444d41474943n // "NBDMAGIC"
export const optionMagic = 0x49484156454f5054n // "IHAVEOPT"
export const optionReplyMagic = 0x0003e889045565a9n
export const requestMagic = 0x25609513
export const simpleReplyMagic = 0x67446698
export const structuredReplyMagic = 0x668e33ef

export const handshakeFlags = { fixedNewstyle: 1, noZeroes: 2 } as const

export const options = { go: 7, structuredReply: 8 } as const

export const optionReplies = { ack: 1, info: 3, errorBit: 0x80000000, unknown: 0x80000006 } as const

export const infos = { export: 0, blockSize: 3 } as const

export const exportFlags = { readOnly: 1 << 1 } as const

export const commands = {
  read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6
} as const

export const commandFlags = { fua: 1 << 0, noHole: 1 << 1, fastZero: 1 << 4 } as const

export const chunkTypes = { none: 0, data: 1, hole: 2, errorBit: 1 << 15 } as const

export const chunkDone = 1

/** The largest payload that the client sends or asks for at once, in bytes. */
export const maxPayload = 32 * 1024 * 1024

/** The errors that a reply may carry, by the protocol's own numbers. */
export const errorNames: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN'
}

export function encodeOption (option: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(16)
  head.writeBigUInt64BE(optionMagic, 0)
  head.writeUInt32BE(option, 8)
  head.writeUInt32BE(data.length, 12)
  return Buffer.concat([head, data])
}

/** GO, asking for the block sizes too. */
export function encodeGo (exportName: string): Buffer {
  const name = Buffer.from(exportName)
  const data = Buffer.alloc(4 + name.length + 4)
  data.writeUInt32BE(name.length, 0)
  name.copy(data, 4)
  data.writeUInt16BE(1, 4 + name.length)
  data.writeUInt16BE(infos.blockSize, 6 + name.length)
  return encodeOption(options.go, data)
}

export function encodeRequest (
  command: number, flags: number, handle: bigint, offset: number, length: number): Buffer {
  const head = Buffer.alloc(28)
  head.writeUInt32BE(requestMagic, 0)
  head.writeUInt16BE(flags, 4)
  head.writeUInt16BE(command, 6)
  head.writeBigUInt64BE(handle, 8)
  head.writeBigUInt64BE(BigInt(offset), 16)
  head.writeUInt32BE(length, 24)
  return head
}

export function broken (message: string): BlockferryError {
  return new BlockferryError('PROTOCOL', `NBD: ${message}`)
}
