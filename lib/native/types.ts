// The native addon as TypeScript sees it. Only lib/ itself uses it; the methods' contracts stand in the
// headers of native/core.

export interface NativeThrottle {
  bytesPerSecond?: number
  writesPerSecond?: number
  burstBytes?: number
  burstWrites?: number
  steps?: ReadonlyArray<{ afterWrites: number, delayUs: number }>
}

export interface NativeTapStats {
  writes: number
  writtenBytes: number
  uniqueDirtyBlocks: number
  writesDelayed: number
  delayUs: number
  holdUs: number
  reads: number
  readBytes: number
  flushes: number
  latency: number[]
}

export interface NativeTap {
  describe (): {
    name: string
    size: number
    capacity: number
    alignment: number
    readOnly: boolean
    blank: boolean
    /** Its file was made when it was opened. */
    created: boolean
    /** -1 when there is none. */
    descriptor: number
    /** 0 without a map file. */
    mapBlockSize: number
  }
  state (): 'open' | 'holding' | 'refusing'
  track (blockSize: number): void
  untrack (): void
  mark (offset: number, length: number): void
  claim (from: number, limit: number): { offset: number, length: number } | null
  dirty (): number
  remembered (): number
  setThrottle (limits: NativeThrottle): void
  beginRound (): void
  hold (): void
  refuse (): void
  open (): void
  drain (timeoutMs: number): Promise<void>
  mayLoseDisk (): Promise<void>
  delayWrites (ms: number): Promise<void>
  checkWatch (): void
  beginAgain (): Promise<void>
  /** Another word when the disk has been changed since the first; '' where that can't be told. */
  witness (isFirst: boolean): Promise<string>
  /** False where it can't be told who opens the disk. */
  watchOpens (): boolean
  unwatchOpens (): void
  /** Since the last call, by others: at all; and perhaps written, then closed. `watched`: by watchOpens(). */
  opens (): { opened: boolean, written: boolean, watched: boolean }
  /** BUSY when somebody else has it open for writing. */
  checkNoWriter (): Promise<void>
  /** Offsets of the blocks that were written last, the latest first. */
  recent (): number[]
  hashes (ranges: readonly ByteRange[], pastCache: boolean): Promise<string[]>
  setSize (bytes: number): void
  allocate (): Promise<void>
  flush (): Promise<void>
  stats (): NativeTapStats
  close (): Promise<void>
}

export interface NativeTapOptions {
  kind: 'file' | 'memory' | 'null' | 'bpf' | 'dm'
  path?: string
  size?: number
  /** Of a file or device: 0 for all of it. */
  diskSize?: number
  readOnly?: boolean
  direct?: boolean
  createSize?: number
  force?: boolean
  holes?: 'auto' | 'trust' | 'read'
  /** Whatever it looks like. */
  raw?: boolean
  map?: string
  blockSize?: number
  metadata?: string
  delays?: boolean
}

/** See DmLeft in native/core/tap/dm/stack.h. */
export interface NativeDmLeft {
  state: 'tapped' | 'fenced' | 'beside' | 'alone'
  device: string
  inner: string
  suspended: boolean
  live: boolean
  moved: boolean
}

export type NativeAddress = { path: string } | { host: string, port: number }

/** Bytes. */
export interface ByteRange { offset: number, length: number }

export interface NativeNbdServer {
  listen (address: NativeAddress): Promise<NativeAddress>
  addExport (name: string, tap: NativeTap, options: { description?: string, readOnly?: boolean }): void
  removeExport (name: string): Promise<void>
  stats (): { connections: number, accepted: number, refused: number, protocolErrors: number }
  close (): Promise<void>
}

export interface NativeDiskStats {
  dirtyBytes: number
  pendingBytes: number
  markedBytes: number
  contentBytes: number
  zeroBytes: number
  sameBytes: number
  wireBytes: number
}

export interface NativeSenderStats {
  disks: NativeDiskStats[]
  acknowledgedBytes: number
  inFlightBytes: number
  passes: number
  idleUs: number
  roundTripUs: number
  /** Of the machine's memory. */
  machine: {
    contentBytes: number
    wireBytes: number
    acknowledgedBytes: number
    inFlightBytes: number
    connections: number
  }
}

export interface NativeBandwidth {
  set (bytesPerSecond: number): void
}

export interface NativeSender {
  connect (host: string, port: number, timeoutMs: number): Promise<void>
  send (text: string): void
  addDisk (tap: NativeTap, known: { blank?: boolean, inventory?: boolean, separate?: boolean }): void
  separate (disk: number): void
  openInventory (): Promise<void>
  openStreams (count: number): Promise<void>
  start (): void
  openMachine (path: string): Promise<void>
  setMachineLimits (maxInFlight: number, level: number): void
  setBandwidth (bytesPerSecond: number): void
  shareBandwidth (bandwidth: NativeBandwidth): void
  setMaxExtent (bytes: number): void
  setMaxInFlight (bytes: number): void
  setCompression (level: number): void
  setDefer (ms: number): void
  pause (on: boolean): void
  mark (number: number): void
  durable (number: number): void
  finish (number: number): void
  unfinish (): void
  markAgain (disk: number, firstBlock: number, count: number): void
  digest (disk: number): string
  stats (): NativeSenderStats
  close (): Promise<void>
}

export interface WrongRange { disk: number, first: number, count: number }

export interface NativeSession {
  id (): string
  peer (): string
  start (listener: NativeListener): void
  send (text: string): void
  addDisk (tap: NativeTap, size: number, blockSize: number, inventory: boolean): void
  acceptStreams (count: number, verify: boolean): void
  acceptMachine (path: string): void
  seal (): Promise<number[]>
  unseal (): void
  digest (disk: number): string
  missing (disk: number): number
  stats (): {
    wireBytes: number
    contentBytes: number
    zeroBytes: number
    unverifiedBytes: number
    missingBytes: number
  }
  close (): Promise<void>
}

/** Of a connection; of several, of the last. */
export interface NativeRefusal { host: string, port: number, error: unknown, count: number }

export interface NativeMigrationListener {
  listen (host: string, port: number): Promise<{ host: string, port: number }>
  close (): Promise<void>
}

export interface NativeTlsFiles {
  pskKeyFile?: string
  pskIdentity?: string
  /** For a side that connects, not for one that listens. */
  connects?: boolean
  certificate?: string
  key?: string
  ca?: string
  peers: readonly string[]
}

/** What was in the files; nothing of it can be seen from here. */
export interface NativeTls { readonly _tls: unique symbol }

/** Who may be at the other end: who has keys that fit; who is of this user or root, on this host's
 * loopback; anybody. */
export type NativeTrust = NativeTls | 'sameUser' | 'anybody'

export interface NativeTunnelOptions {
  device: string
  number: number
  mtu: number
  local: string
  remote: string
  port: number
  listens: boolean
  tls: NativeTls | null
}

export interface NativeTunnel {
  connected (timeoutMs: number): Promise<void>
  close (): Promise<void>
}

/** Called on the JavaScript thread with an event's name and value. */
export type NativeListener = (event: string, value: any) => void

export interface Native {
  openTap (options: NativeTapOptions): Promise<NativeTap>
  /** Whether a tap of kind 'bpf' could be opened on the device: rejects if not. */
  checkBpf (path: string): Promise<void>
  checkDm (path: string): Promise<void>
  /** That, and that it could delay writes. */
  checkDmDelay (path: string): Promise<void>
  listDmStacks (): Promise<NativeDmLeft[]>
  /** Whether there was one. */
  cleanDmStack (device: string, owned: boolean): Promise<boolean>
  /** See native/core/tap/dm/moved.h. */
  markDmMoved (path: string): Promise<void>
  unfenceDmMoved (path: string): Promise<void>
  NbdServer: new (
    options: { maxConnections?: number, handshakeTimeoutMs?: number, sameUser?: boolean }
  ) => NativeNbdServer
  Sender: new (
    options: { linkTimeoutMs?: number, tls: NativeTrust }, listener: NativeListener
  ) => NativeSender
  MigrationListener: new (
    options: {
      maxSessions?: number
      maxGreeting?: number
      greetingTimeoutMs?: number
      linkTimeoutMs?: number
      tls: NativeTrust
    },
    listener: NativeListener
  ) => NativeMigrationListener
  lockFile (fd: number): boolean
  pinnedTaps (): Array<{ id: string, inUse: boolean }>
  removePinnedTap (id: string): void
  Bandwidth: new () => NativeBandwidth
  Tunnel: new (options: NativeTunnelOptions, listener: NativeListener) => NativeTunnel
  /** Reads the files. */
  loadTls (files: NativeTlsFiles): Promise<NativeTls>
  ioUring: boolean
  /** Whether loadTls() does anything but fail. */
  tls: boolean
  /** Whether taps of these kinds are built in. */
  bpf: boolean
  dm: boolean
}
