// What `xl migrate` and `xl migrate-receive` say to each other around the machine's memory:
//
//   receiver: banner → sender: the memory → receiver: ready → sender: go → receiver: report, a byte
//
// From its `go` on xl at the source does not let the machine run by itself, whatever breaks; before
// it does. A report of failure, with a `go` in the other direction behind it, lets the source's run
// again; one of success has it destroyed.

export const kBanner = Buffer.from('xl migration receiver ready, send binary domain data.\n')
export const kReady = Buffer.from('domain received, ready to unpause\0')
export const kGo = Buffer.from('domain is yours, you are cleared to unpause\0')
const kReport = Buffer.from('my copy unpause results are as follows\0')

export const kReportSize = kReport.length + 1
export const kMoved = Buffer.concat([kReport, Buffer.from([0])])
export const kFailed = Buffer.concat([kReport, Buffer.from([1]), kGo])

/** The receiver's machine runs. */
export function isGoodReport (bytes: Buffer): boolean {
  return bytes.subarray(0, kReportSize).equals(kMoved)
}

/** Bytes of which so many are wanted. */
export class Expected {
  #bytes: Buffer = Buffer.alloc(0)
  readonly #size: number

  constructor (size: number) {
    this.#size = size
  }

  /** All of them, once they are here. */
  take (bytes: Buffer): Buffer | null {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    return this.#bytes.length < this.#size ? null : this.#bytes
  }
}
