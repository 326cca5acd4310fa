// A table: a click on a row, or its link, opens it; a heading orders the list.
// Everything that comes from the database is written as text, never as markup.

function make(name, attributes, ...children) {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== "") element.setAttribute(key, value)
  }
  element.append(...children)
  return element
}

function heading(column, index, sorted, send) {
  const unit = column.unit ? [make("span", { class: "unit" }, column.unit)] : []
  const attributes = { scope: "col", role: "columnheader", class: column.figure ? "figure" : "" }
  if (!column.sort) return make("th", attributes, column.label, ...unit)
  const button = make("button", { type: "button", "data-column": index }, column.label)
  button.onclick = () => send("sort", column.sort)
  attributes["aria-sort"] = column.sort === sorted.key ? (sorted.descending ? "descending" : "ascending") : "none"
  return make("th", attributes, button, ...unit)
}

const SVG = "http://www.w3.org/2000/svg"

// Values as a small line; the text beside it says the last of them.
function lineOf(values) {
  const [width, height, edge] = [88, 22, 3]
  const low = Math.min(...values)
  const span = Math.max(...values) - low || 1
  const points = values.map((value, index) => [
    edge + (index / (values.length - 1)) * (width - 2 * edge),
    height - edge - ((value - low) / span) * (height - 2 * edge),
  ])
  const drawing = document.createElementNS(SVG, "svg")
  for (const [key, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }))
    drawing.setAttribute(key, value)
  const line = document.createElementNS(SVG, "polyline")
  line.setAttribute("points", points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "))
  const dot = document.createElementNS(SVG, "circle")
  const [x, y] = points[points.length - 1]
  for (const [key, value] of Object.entries({ cx: x, cy: y, r: 2.5 })) dot.setAttribute(key, value)
  drawing.append(line, dot)
  return drawing
}

function rowOf(row, columns, send) {
  const cells = row.cells.map((text, index) => {
    const column = columns[index]
    const kind = [index === 0 ? "name" : "", column.figure ? "figure" : "", row.unknown.includes(index) ? "unknown" : ""]
    const label = column.unit ? `${column.label}, ${column.unit}` : column.label
    const attributes = { role: "cell", class: kind.filter(Boolean).join(" "), "data-label": label }
    const values = row.lines[index] ?? []
    const drawn = values.length > 1 ? [lineOf(values)] : []
    return make("td", attributes, ...drawn, index === 0 ? make("a", { href: row.href }, text) : text)
  })
  const line = make("tr", { role: "row" }, ...cells)
  line.onclick = (event) => {
    // A new tab, a selected text: the browser's own ways stay as they are.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return
    if (String(window.getSelection())) return
    event.preventDefault()
    line.classList.add("opening")
    send("open", row.id)
  }
  return line
}

export default function ({ data, parentElement, setTriggerValue }) {
  const place = parentElement.querySelector(".rows")
  const shown = JSON.stringify(data)
  if (place.shown === shown) {
    for (const line of place.querySelectorAll(".opening")) line.classList.remove("opening")
    return
  }
  place.shown = shown
  const focused = parentElement.activeElement?.dataset?.column
  const send = (name, value) => setTriggerValue(name, value)
  const head = data.columns.map((column, index) => heading(column, index, data.sorted, send))
  const body = data.rows.map((row) => rowOf(row, data.columns, send))
  place.replaceChildren(
    make(
      "table",
      { role: "table" },
      make("caption", {}, data.caption),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...head)),
      make("tbody", { role: "rowgroup" }, ...body),
    ),
  )
  if (focused !== undefined) place.querySelector(`[data-column="${focused}"]`)?.focus()
  const turned = place.page !== undefined && place.page !== data.page
  place.page = data.page
  if (turned && place.getBoundingClientRect().top < 0) place.scrollIntoView({ block: "start" })
}
