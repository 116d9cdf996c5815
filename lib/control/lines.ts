// Cuts a byte stream into lines.
import type { Socket } from 'node:net'

export interface LineListener {
  line: (text: string) => void
  /** A line longer than the limit; nothing more is read. */
  tooLong: () => void
}

export function readLines (socket: Socket, maxBytes: number, listener: LineListener): void {
  let waiting: Buffer[] = []
  let waitingBytes = 0
  const onData = (data: Buffer) => {
    let from = 0
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, from)) {
      waiting.push(data.subarray(from, end))
      from = end + 1
      const text = Buffer.concat(waiting).toString('utf8')
      waiting = []
      waitingBytes = 0
      if (text.trim() !== '') listener.line(text)
    }
    waiting.push(data.subarray(from))
    waitingBytes += data.length - from
    if (waitingBytes <= maxBytes) return
    socket.off('data', onData)
    listener.tooLong()
  }
  socket.on('data', onData)
}
