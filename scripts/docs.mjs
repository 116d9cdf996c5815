// `npm run docs`: writes the pages of docs/ that are made of what the library says of itself. Needs a build.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { errorsPage } from './errors-page.mjs'
import { main, root } from './support.mjs'

await main(async () => {
  const { kErrors } = await import(join(root, 'dist', 'lib', 'base', 'error-codes.js'))
  writeFileSync(join(root, 'docs', 'errors.md'), errorsPage(kErrors))
})
