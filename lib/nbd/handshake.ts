// The client's side of the NBD handshake.
import type { Socket } from 'node:net'
import { BlockferryError } from '../base/errors.js'
import type { ByteReader } from './byte-reader.js'
import {
  broken, encodeGo, encodeOption, greetingMagic, handshakeFlags, infos, optionMagic,
  optionReplies, optionReplyMagic, options
} from './protocol.js'

const maxOptionReply = 64 * 1024

/** What the server told of the export. */
export interface Agreed {
  /** Bytes. */
  size: number
  flags: number
  minimumBlock: number
}

/** Rejects with a BlockferryError: NOT_FOUND, PROTOCOL, PEER_GONE. */
export async function shakeHands (
  socket: Socket, reader: ByteReader, exportName: string, structuredReplies: boolean
): Promise<Agreed> {
  const greeting = await reader.read(18)
  const known = greeting.readBigUInt64BE(0) === greetingMagic &&
    greeting.readBigUInt64BE(8) === optionMagic
  if (!known) throw broken('that is no NBD server')
  const flags = Buffer.alloc(4)
  flags.writeUInt32BE(greeting.readUInt16BE(16) &
    (handshakeFlags.fixedNewstyle | handshakeFlags.noZeroes))
  socket.write(flags)
  if (structuredReplies) {
    socket.write(encodeOption(options.structuredReply))
    await readOptionReply(reader) // a server without them goes on with simple replies
  }
  socket.write(encodeGo(exportName))
  return await readInfos(reader, exportName)
}

async function readInfos (reader: ByteReader, exportName: string): Promise<Agreed> {
  const agreed = { size: 0, flags: 0, minimumBlock: 1 }
  for (;;) {
    const { type, data } = await readOptionReply(reader)
    if (type === optionReplies.ack) return agreed
    if (type === optionReplies.unknown) {
      throw new BlockferryError('NOT_FOUND', `the NBD server has no export '${exportName}'`)
    }
    if (type !== optionReplies.info) {
      throw broken(`the server refused the export '${exportName}': ${data.toString()}`)
    }
    takeInfo(agreed, data)
  }
}

async function readOptionReply (reader: ByteReader): Promise<{ type: number, data: Buffer }> {
  const head = await reader.read(20)
  const length = head.readUInt32BE(16)
  const known = head.readBigUInt64BE(0) === optionReplyMagic && length <= maxOptionReply
  if (!known) throw broken('malformed reply to an option')
  return { type: head.readUInt32BE(12), data: await reader.read(length) }
}

function takeInfo (agreed: Agreed, data: Buffer): void {
  const info = data.length >= 2 ? data.readUInt16BE(0) : -1
  if (info === infos.export && data.length === 12) {
    agreed.size = Number(data.readBigUInt64BE(2))
    agreed.flags = data.readUInt16BE(10)
  } else if (info === infos.blockSize && data.length === 14) {
    agreed.minimumBlock = data.readUInt32BE(2)
  }
}
