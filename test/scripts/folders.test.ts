// What a folder of native/core may include: the table in native/CMakeLists.txt.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const native = fileURLToPath(new URL('../../../native/', import.meta.url))
const table = new Map<string, string[]>()
for (const [, path = '', others = ''] of read('CMakeLists.txt').matchAll(/^add_folder\(([a-z/]+)([a-z/ ]*)\)$/gm)) {
  table.set(path, others.trim().split(' '))
}

function read (path: string): string {
  return readFileSync(native + path, 'utf8')
}

function sources (folder: string): string[] {
  return readdirSync(native + folder, { recursive: true, encoding: 'utf8' }).filter((path) => /\.(cc|h)$/.test(path))
}

// The program for the kernel is part of its folder's parent.
function folderOf (path: string): string | undefined {
  const folder = dirname(path).replace(/^tap\/bpf\/program$/, 'tap/bpf')
  return table.has(folder) ? folder : undefined
}

function complaints (path: string, text: string): string[] {
  const folder = folderOf(path)
  if (folder === undefined) return [`${path} is in no folder of the table`]
  const may = [folder, ...(table.get(folder) ?? [])]
  return [...text.matchAll(/^#\s*include\s+["<]([^">]+)[">]/gm)].flatMap(([line, name = '']) => {
    const isForNode = /^(napi|node|uv)\b/.test(name)
    const isOurs = line.includes('"') && name !== 'block_writes_object.h'
    const isAllowed = isOurs ? may.includes(folderOf(name) ?? '') : !isForNode
    return isAllowed ? [] : [`${path}: ${line}`]
  })
}

t.test('no folder of native/core includes what the table does not let it', async (t) => {
  t.same(sources('core').flatMap((path) => complaints(path, read(`core/${path}`))), [])
  t.same([...table.keys()].filter((folder) => !sources('core').some((path) => dirname(path) === folder)), [])
})

t.test('an include that is not in the table is found', async (t) => {
  for (const name of ['"send/sender.h"', '"tap/dm/watch.h"', '"../net/tcp.h"', '"tcp.h"', '<napi.h>', '"node_api.h"']) {
    t.same(complaints('nbd/server.h', `#include ${name}\n`), [`nbd/server.h: #include ${name}`])
  }
  t.same(complaints('nbd/server.h', '#include <vector>\n#include "tap/tap.h"\n#include "nbd/input.h"\n'), [])
  t.same(complaints('tap.h', ''), ['tap.h is in no folder of the table'])
})

t.test('only native/node and the entry of the addon know Node', async (t) => {
  const others = sources('.').filter((path) => !/^(build|node)\/|^addon\.cc$/.test(path))
  t.same(others.filter((path) => /#\s*include\s+["<](napi|node_api|uv)\.h/.test(read(path))), [])
})
