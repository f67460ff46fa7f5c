// What the page gains where scripts run. Without them it works all the same.
import { helpWithForm } from "./_form.js";
import { offerThemes } from "./_theme.js";
import { relateTimes } from "./_times.js";

offerThemes();
helpWithForm();
relateTimes();
