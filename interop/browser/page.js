// Tries to reach an MCP server in every way in which a page can. It runs in pages, in
// frames without an origin and in workers. attempts maps a name to a function of the
// server's URL that returns a promise of what could be read of the server: null, or a
// string.

const initialize = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {
  protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'page', version: '1' } } })
const generate = { name: 'generate', arguments: { model: 'tiny', prompt: 'the sea' } }
const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: generate })
// Needs no session: https://modelcontextprotocol.io/specification/2026-07-28/basic
const stateless = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...generate, _meta: {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } } })

const patience = 5000 // ms, for what may never say that it failed

// within gives up on a promise.
const within = promise => Promise.race([promise, new Promise(done => setTimeout(done, patience, null))])

// read is what can be read of an answer, from its first bytes.
async function read(url, init) {
  try {
    const response = await fetch(url, init)
    if (response.type === 'opaque') return null
    const { value } = await response.body.getReader().read()
    return `${response.status} ${new TextDecoder().decode(value)}`
  } catch { return null }
}

const post = (body, type, more) => ({ method: 'POST', body, headers: type ? { 'Content-Type': type } : {}, ...more })

// Anything that can call fetch can do these.
const fetches = {
  'fetch json': s => read(s + '/mcp', post(initialize, 'application/json')),
  'fetch json stateless': s => read(s + '/mcp', post(stateless, 'application/json',
    { headers: { 'Content-Type': 'application/json', 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'generate' } })),
  'fetch text': s => read(s + '/mcp', post(initialize, 'text/plain')),
  'fetch text stateless': s => read(s + '/mcp', post(stateless, 'text/plain')),
  'fetch text message': s => read(s + '/message?sessionId=1', post(call, 'text/plain')),
  'fetch form type': s => read(s + '/mcp', post(initialize, 'application/x-www-form-urlencoded')),
  'fetch without type': s => read(s + '/mcp', post(new TextEncoder().encode(initialize))),
  'fetch with credentials': s => read(s + '/mcp', post(initialize, 'text/plain', { credentials: 'include' })),
  'fetch keepalive': s => read(s + '/mcp', post(initialize, 'text/plain', { keepalive: true })),
  'fetch no-cors': s => read(s + '/mcp', post(initialize, 'text/plain', { mode: 'no-cors' })),
  'fetch no-cors stateless': s => read(s + '/mcp', post(stateless, 'text/plain', { mode: 'no-cors' })),
  'fetch no-cors message': s => read(s + '/message?sessionId=1', post(call, 'text/plain', { mode: 'no-cors' })),
  'fetch delete': s => read(s + '/mcp', { method: 'DELETE' }),
  'fetch get mcp': s => read(s + '/mcp', { headers: { Accept: 'text/event-stream' } }),
  'fetch get sse': s => read(s + '/sse', { headers: { Accept: 'text/event-stream' } }),
  'fetch no-cors get sse': s => read(s + '/sse', { mode: 'no-cors', headers: { Accept: 'text/event-stream' } }),
  'fetch no-referrer': s => read(s + '/mcp', post(initialize, 'text/plain', { mode: 'no-cors', referrerPolicy: 'no-referrer' })),
  'fetch get root': s => read(s + '/'),
  'fetch get readyz': s => read(s + '/readyz'),
}

const streams = path => s => new Promise(done => {
  const source = new EventSource(s + path)
  const end = what => { source.close(); done(what) }
  source.onopen = () => end('opened')
  source.onerror = () => end(null)
})

const socket = path => s => new Promise(done => {
  const ws = new WebSocket(s.replace('http:', 'ws:') + path, ['mcp'])
  ws.onopen = () => { ws.send(initialize); done('opened') }
  ws.onerror = () => done(null)
})

const request = s => new Promise(done => {
  const xhr = new XMLHttpRequest()
  xhr.open('POST', s + '/mcp')
  xhr.setRequestHeader('Content-Type', 'text/plain')
  xhr.onload = () => done(xhr.responseText)
  xhr.onerror = () => done(null)
  xhr.send(initialize)
})

// element has the browser load something into the page.
const element = (tag, attributes, path) => s => new Promise(done => {
  const e = Object.assign(document.createElement(tag), attributes)
  e.onload = e.onerror = () => {
    let text = null
    try { text = e.contentDocument?.body?.innerText || null } catch { /* of another origin */ }
    done(text)
  }
  e[{ LINK: 'href', OBJECT: 'data' }[e.tagName] ?? 'src'] = s + path
  document.body.append(e)
})

// form sends a form into a frame. What stands before and after the = of the one field
// makes the whole JSON, with the type text/plain.
const form = (path, enctype, body) => s => new Promise(done => {
  const frame = Object.assign(document.createElement('iframe'), { name: 'f' + Math.random() })
  document.body.append(frame)
  const f = Object.assign(document.createElement('form'), { method: 'POST', action: s + path, enctype, target: frame.name })
  const [name, value] = [body.slice(0, -1) + ',"x":"', '"}']
  f.append(Object.assign(document.createElement('input'), { name, value }))
  document.body.append(f)
  frame.onload = () => {
    let text = null
    try { text = frame.contentDocument?.body?.innerText || null } catch { /* of another origin */ }
    done(text)
  }
  f.submit()
})

const beacon = (path, type) => async s => {
  navigator.sendBeacon(s + path, new Blob([stateless], { type }))
  await new Promise(done => setTimeout(done, 500)) // it does not say when it was sent
  return null
}

// Only a document can do these.
const documents = {
  'EventSource mcp': streams('/mcp'),
  'EventSource sse': streams('/sse'),
  'WebSocket mcp': socket('/mcp'),
  'WebSocket sse': socket('/sse'),
  'XMLHttpRequest': request,
  'form text': form('/mcp', 'text/plain', initialize),
  'form text stateless': form('/mcp', 'text/plain', stateless),
  'form text message': form('/message?sessionId=1', 'text/plain', call),
  'form urlencoded': form('/mcp', 'application/x-www-form-urlencoded', initialize),
  'form multipart': form('/mcp', 'multipart/form-data', initialize),
  'beacon text': beacon('/mcp', 'text/plain'),
  'beacon json': beacon('/mcp', 'application/json'),
  'img sse': element('img', {}, '/sse'),
  'img mcp': element('img', {}, '/mcp'),
  'img no-referrer': element('img', { referrerPolicy: 'no-referrer' }, '/sse'),
  'img crossorigin': element('img', { crossOrigin: 'anonymous' }, '/sse'),
  'script sse': element('script', {}, '/sse'),
  'script module': element('script', { type: 'module' }, '/sse'),
  'stylesheet': element('link', { rel: 'stylesheet' }, '/sse'),
  'preload': element('link', { rel: 'preload', as: 'fetch' }, '/sse'),
  'video': element('video', { preload: 'auto' }, '/sse'),
  'iframe sse': element('iframe', {}, '/sse'),
  'iframe mcp': element('iframe', {}, '/mcp'),
  'iframe root': element('iframe', {}, '/'),
}

// Frames without an origin have no plugins.
const plugins = { 'object': element('object', {}, '/sse') }

const attempts = !globalThis.document ? fetches : origin === 'null' ? { ...fetches, ...documents } : { ...fetches, ...documents, ...plugins }

// attemptAll makes the attempts one after the other, each announced, so that whoever
// sees the requests knows what they come from.
async function attemptAll(server, announce) {
  const results = {}
  for (const [name, attempt] of Object.entries(attempts)) {
    await announce(name)
    results[name] = await within(attempt(server))
  }
  return results
}
