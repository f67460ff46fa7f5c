// What the page gains where scripts run. Without them it works all the same.
import { helpWithForm } from "./form.js";
import { offerThemes } from "./theme.js";
import { relateTimes } from "./times.js";

offerThemes();
helpWithForm();
relateTimes();
