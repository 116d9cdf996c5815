// Downloads the guest's large file again and again, slowly, and checks every byte that comes.
//
//   download URL

import { get as request, type IncomingMessage } from 'node:http'
import { noise } from '../../guests/content.js'
import { finish, nowMs, stopSignal, type Sample } from './timeline.js'

const url = process.argv[2] as string
const stop = stopSignal()
const samples: Sample[] = []
let bytes = 0
let wrongBytes = 0
let complete = 0
let broken = 0

function open (): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, signal: stop }, resolve).on('error', reject)
  })
}

/** Counts the bytes of a part that are not what the file holds there. */
function check (part: Buffer, offset: number): void {
  const before = offset % 4
  const length = Math.ceil((before + part.length) / 4) * 4
  const expected = noise(offset - before, length).subarray(before, before + part.length)
  if (part.equals(expected)) return
  for (let i = 0; i < part.length; i++) wrongBytes += part[i] === expected[i] ? 0 : 1
}

async function download (): Promise<void> {
  const response = await open()
  let offset = 0
  let startMs = nowMs()
  for await (const part of response as AsyncIterable<Buffer>) {
    check(part, offset)
    offset += part.length
    bytes += part.length
    samples.push({ startMs, endMs: nowMs(), ok: true })
    startMs = nowMs()
  }
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
  if (offset !== Number(response.headers['content-length'])) throw new Error('cut short')
  complete += 1
}

while (!stop.aborted) {
  await download().catch(() => {
    if (stop.aborted) return
    broken += 1
    return new Promise((resolve) => setTimeout(resolve, 100))
  })
}
finish({ samples, bytes, wrongBytes, complete, broken })
