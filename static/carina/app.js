import { copyOnClick } from "./copy.js";
import { guardForms, nameBeforeDelete } from "./forms.js";
import { closeMenus } from "./menus.js";
import { tabShells } from "./shells.js";
import { tellWhenOffline } from "./offline.js";
import { toggleTheme } from "./toggle.js";

copyOnClick(document);
closeMenus(document);
guardForms(document);
nameBeforeDelete(document);
tabShells(document);
tellWhenOffline(document);
toggleTheme(document);
document.addEventListener("htmx:afterSwap", () => tabShells(document));
