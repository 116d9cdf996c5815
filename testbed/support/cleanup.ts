// What a benchmark sets up in the system (folders, network namespaces) is undone when it ends,
// however it ends.

const undos: (() => void)[] = []
let isInstalled = false

/** Runs `undo` at the end of this process, the last one registered first. It must not wait. */
export function atEnd (undo: () => void): void {
  undos.push(undo)
  if (isInstalled) return
  isInstalled = true
  process.on('exit', undoAll)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130))
  }
}

function undoAll (): void {
  for (const undo of undos.splice(0).reverse()) {
    try {
      undo()
    } catch (error) {
      console.error(`clean-up: ${String(error)}`)
    }
  }
}
