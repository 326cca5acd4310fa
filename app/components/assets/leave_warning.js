// The browser asks before it closes or reloads the tab while something typed is not saved. What was typed lives in the
// session, which outlasts a change of page but not a reload: so the question stays armed on other pages, too, until
// the changes are saved or discarded, or the person has signed out.

function ask(event) {
  if (!window.fedcostUnsaved || !document.querySelector(".st-key-sidebar_sign_out")) return
  event.preventDefault()
  event.returnValue = ""
}

export default function ({ data }) {
  window.fedcostUnsaved = Boolean(data.unsaved)
  if (!window.fedcostAsks) {
    window.fedcostAsks = true
    window.addEventListener("beforeunload", ask)
  }
}
