// Reads what stands behind the "#" of the address, which a browser sends to no server, and takes it out of the address
// and of the browser's history at once.
export default function ({ setStateValue, data }) {
  if (data.known) return
  const secret = window.location.hash.slice(1)
  if (secret) window.history.replaceState(window.history.state, "", window.location.pathname)
  setStateValue("secret", secret || "none")
}
