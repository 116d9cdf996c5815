// Peers made of the library's own parts, that say what a test wants.
import type { Test } from 'tap'

import type { NativeSender, NativeSession, NativeTrust } from '../../lib/native/types.js'
import { native } from '../../lib/native/addon.js'

export interface RawSource {
  readonly sender: NativeSender
  say: (message: object) => void
  /** The first message that came of one of these types. */
  hears: (...types: string[]) => Promise<any>
  /** Resolves when a connection has ended. */
  readonly ended: Promise<void>
}

export async function rawSource (
  t: Test, { host, port }: { host: string, port: number }, tls: NativeTrust = 'anybody'
): Promise<RawSource> {
  const heard: any[] = []
  let look = () => {}
  let end = () => {}
  const ended = new Promise<void>((resolve) => { end = resolve })
  const sender: NativeSender = new native.Sender({ tls }, (event, value) => {
    if (event === 'message') heard.push(JSON.parse(value))
    if (event === 'failed') end()
    look()
  })
  await sender.connect(host, port, 5000)
  t.teardown(() => sender.close())
  const hears = async (...types: string[]): Promise<any> => {
    for (;;) {
      const found = heard.find(({ type }) => types.includes(type))
      if (found !== undefined) return found
      await new Promise<void>((resolve) => { look = resolve })
    }
  }
  return { sender, hears, ended, say: (message) => sender.send(JSON.stringify(message)) }
}

export async function rawDestination (
  onMessage: (session: NativeSession, message: any) => void
): Promise<{ address: { host: string, port: number }, close: () => Promise<void> }> {
  const sessions: NativeSession[] = []
  const listener = new native.MigrationListener({ tls: 'anybody' }, (event, session: NativeSession) => {
    if (event !== 'session') return
    sessions.push(session)
    session.start((event, value) => {
      if (event === 'message') onMessage(session, JSON.parse(value))
    })
  })
  const address = await listener.listen('127.0.0.1', 0)
  return {
    address,
    close: async () => {
      await Promise.all(sessions.map((session) => session.close()))
      await listener.close()
    }
  }
}
