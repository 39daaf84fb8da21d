// Shows the page of the report that the address names; the others stay templates.
const wanted = new URLSearchParams(location.search).get("show") ?? "";
const template = document.getElementById(`page-${wanted}`) ?? document.getElementById("page-first");
document.getElementById("pages").replaceChildren(template.content.cloneNode(true));
export const shown = template.id.slice(5);
